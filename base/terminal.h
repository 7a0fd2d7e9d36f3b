/* terminal.h - what the stream a person reads can do, and the end of printing results. */
#ifndef TAMIS_BASE_TERMINAL_H
#define TAMIS_BASE_TERMINAL_H

#include <stdbool.h>
#include <stdio.h>

#include "base/error.h"

/* A terminal on which a line can be drawn again (TERM is set and not "dumb"). */
bool tamis_terminal_can_redraw(FILE *stream);
/* Colour is wanted: as above, and NO_COLOR is unset or empty. */
bool tamis_terminal_has_colour(FILE *stream);
/* Columns of the terminal; 80 when unknown. */
int tamis_terminal_columns(FILE *stream);

/* Send what was printed on standard output on its way, and say whether all of it arrived: called
 * once, behind the last result. A reader that closes its end of a pipe early ("| head") has had
 * enough and is no error. TAMIS_NO_RESOURCE when results are lost. */
tamis_status tamis_flush_results(tamis_error *err) TAMIS_MUST_USE;

#endif
