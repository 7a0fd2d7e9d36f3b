/* terminal.h - what the stream a person reads can do. */
#ifndef TAMIS_BASE_TERMINAL_H
#define TAMIS_BASE_TERMINAL_H

#include <stdbool.h>
#include <stdio.h>

/* A terminal on which a line can be drawn again (TERM is set and not "dumb"). */
bool tamis_terminal_can_redraw(FILE *stream);
/* Colour is wanted: as above, and NO_COLOR is unset or empty. */
bool tamis_terminal_has_colour(FILE *stream);
/* Columns of the terminal; 80 when unknown. */
int tamis_terminal_columns(FILE *stream);

#endif
