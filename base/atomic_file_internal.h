/* atomic_file_internal.h - what atomic_file.c shares with stale_files.c. */
#ifndef TAMIS_BASE_ATOMIC_FILE_INTERNAL_H
#define TAMIS_BASE_ATOMIC_FILE_INTERNAL_H

/* Bytes of the target's name that its temporaries carry; the rest of their name needs room too. */
enum { TAMIS_NAME_KEPT_MAX = 200 };

/* Remove the temporaries of `target` (absolute) that processes left which are no more. */
void tamis_remove_stale(const char *target);

#endif
