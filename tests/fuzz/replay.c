/* replay.c - a fuzz target without a fuzzer: every file named, and every file of every folder
 * named, goes through it once. CTest runs it over the corpus, with any compiler. */
#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/input_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

enum { MAX_BYTES = 64 << 20 };

static bool replay_file(const char *path) {
    char *data = NULL;
    size_t n_bytes = 0;
    tamis_error err = {0};
    if (tamis_read_file(path, MAX_BYTES, &data, &n_bytes, &err)) {
        fprintf(stderr, "%s\n", err.message);
        return false;
    }
    /* A copy of exactly this size, so that a sanitizer sees a read behind its end. */
    uint8_t *exact = malloc(n_bytes ? n_bytes : 1);
    if (exact) {
        if (n_bytes) memcpy(exact, data, n_bytes);
        fprintf(stderr, "%s\n", path); /* the last line names the file that crashed */
        (void)LLVMFuzzerTestOneInput(exact, n_bytes);
    }
    free(exact);
    free(data);
    return exact != NULL;
}

static bool replay(const char *path, int64_t *n_files) {
    struct stat st;
    if (stat(path, &st)) return true; /* no such part of the corpus here */
    if (!S_ISDIR(st.st_mode)) {
        ++*n_files;
        return replay_file(path);
    }
    struct dirent **entries = NULL;
    const int n = scandir(path, &entries, NULL, alphasort);
    bool is_fine = n >= 0;
    for (int i = 0; i < n; i++) {
        char *inner = NULL;
        if (is_fine && entries[i]->d_name[0] != '.') {
            is_fine = asprintf(&inner, "%s/%s", path, entries[i]->d_name) > 0;
            if (is_fine) is_fine = replay(inner, n_files);
            free(inner);
        }
        free(entries[i]);
    }
    free(entries);
    return is_fine;
}

int main(int argc, char **argv) {
    int64_t n_files = 0;
    bool is_fine = true;
    const uint8_t nothing = 0;
    (void)LLVMFuzzerTestOneInput(&nothing, 0);
    for (int i = 1; i < argc && is_fine; i++)
        is_fine = replay(argv[i], &n_files);
    printf("%lld files replayed\n", (long long)n_files);
    return is_fine ? 0 : 1;
}
