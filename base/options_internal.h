/* options_internal.h - what the pages made from an option table share. */
#ifndef TAMIS_BASE_OPTIONS_INTERNAL_H
#define TAMIS_BASE_OPTIONS_INTERNAL_H

#include <stddef.h>

/* Exit codes and their meaning, as both pages print them. */
typedef struct tamis_exit_code {
    int code;
    const char *meaning;
} tamis_exit_code;
extern const tamis_exit_code tamis_exit_codes[];
extern const size_t tamis_n_exit_codes;

#endif
