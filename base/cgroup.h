/* cgroup.h - limits of the control groups (version 2) this process lies in.
 * A limit may be set at any level between the process's own group and the root, so
 * every level that can be read is asked. Inside a container the root seen is its own. */
#ifndef TAMIS_BASE_CGROUP_H
#define TAMIS_BASE_CGROUP_H

#include <stdint.h>

/* Cores the CPU quota allows, rounded up; 0 without a quota. */
int tamis_cgroup_cores(void);

/* Bytes that may still be allocated under the memory limits; file cache counts as free, for the
 * kernel gives it up first. UINT64_MAX without a limit. */
uint64_t tamis_cgroup_memory_left(void);

#endif
