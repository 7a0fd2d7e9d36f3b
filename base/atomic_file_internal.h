/* atomic_file_internal.h - what atomic_file.c shares with stale_files.c. */
#ifndef TAMIS_BASE_ATOMIC_FILE_INTERNAL_H
#define TAMIS_BASE_ATOMIC_FILE_INTERNAL_H

/* Remove the temporaries of `target` (absolute) that processes left which are no more. */
void tamis_remove_stale(const char *target);

#endif
