/* interrupt.h - temporaries that a dying process must still remove.
 * Used by atomic_file.c; the public side of interruption is in threads.h. */
#ifndef TAMIS_BASE_INTERRUPT_H
#define TAMIS_BASE_INTERRUPT_H

#include <stdbool.h>

/* Register an absolute path to be unlinked when a second signal ends the process. Returns a
 * slot >= 0, or -1 when all are in use or the path is too long (it is then found as stale by the
 * next run instead). */
int tamis_temporary_register(const char *path);
/* Forget the path of a slot; -1 is accepted. */
void tamis_temporary_forget(int i_slot);

#endif
