/* cgroup.c - reading /sys/fs/cgroup; formats: Linux Documentation/admin-guide/cgroup-v2. */
#include "base/cgroup.h"

#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static const char root[] = "/sys/fs/cgroup";

/* Path of this process's group below the root, "" for the root itself. */
static void own_group(char *out, size_t cap) {
    char line[PATH_MAX];
    out[0] = 0;
    FILE *f = fopen("/proc/self/cgroup", "re");
    if (!f) return;
    while (fgets(line, sizeof line, f)) {
        if (strncmp(line, "0::", 3) != 0) continue; /* the line of version 2 */
        line[strcspn(line, "\n")] = 0;
        /* "/.." begins a group outside of what this container sees */
        if (strcmp(line + 3, "/") != 0 && !strstr(line, "/..")) snprintf(out, cap, "%s", line + 3);
        break;
    }
    fclose(f);
}

static FILE *open_file(const char *group, const char *name) {
    char path[2 * PATH_MAX];
    snprintf(path, sizeof path, "%s%s/%s", root, group, name);
    return fopen(path, "re");
}

/* The group one level up; false at the root. */
static bool go_up(char *group) {
    char *slash = strrchr(group, '/');
    if (!slash) return false;
    *slash = 0;
    return true;
}

int tamis_cgroup_cores(void) {
    char group[PATH_MAX];
    uint64_t least = 0;
    own_group(group, sizeof group);
    do {
        FILE *f = open_file(group, "cpu.max");
        if (!f) continue;
        uint64_t quota = 0, period = 0; /* "max 100000" has no first number: no limit */
        int n = fscanf(f, "%" SCNu64 " %" SCNu64, &quota, &period);
        fclose(f);
        if (n != 2 || period == 0 || quota == 0) continue;
        uint64_t cores = quota / period + (quota % period != 0);
        if (least == 0 || cores < least) least = cores;
    } while (go_up(group));
    return least > INT_MAX ? INT_MAX : (int)least;
}

static bool read_number(const char *group, const char *name, uint64_t *out) {
    FILE *f = open_file(group, name);
    if (!f) return false;
    bool is_read = fscanf(f, "%" SCNu64, out) == 1;
    fclose(f);
    return is_read;
}

/* Bytes of file cache charged to a group. */
static uint64_t file_cache(const char *group) {
    char line[256];
    uint64_t sum = 0, n = 0;
    FILE *f = open_file(group, "memory.stat");
    if (!f) return 0;
    while (fgets(line, sizeof line, f))
        if (sscanf(line, "inactive_file %" SCNu64, &n) == 1 ||
            sscanf(line, "active_file %" SCNu64, &n) == 1)
            sum += n;
    fclose(f);
    return sum;
}

uint64_t tamis_cgroup_memory_left(void) {
    char group[PATH_MAX];
    uint64_t least = UINT64_MAX;
    own_group(group, sizeof group);
    do {
        uint64_t limit = 0, used = 0;
        if (!read_number(group, "memory.max", &limit) ||
            !read_number(group, "memory.current", &used))
            continue;
        uint64_t cache = file_cache(group);
        used = used > cache ? used - cache : 0;
        uint64_t left = limit > used ? limit - used : 0;
        if (left < least) least = left;
    } while (go_up(group));
    return least;
}
