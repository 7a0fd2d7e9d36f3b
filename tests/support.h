/* support.h - what the test programs share: fixture paths and small readers.
 * A program that needs the reference fixtures calls require_shared() first in main;
 * without them it exits 77, which CTest reports as skipped. */
#ifndef TAMIS_TESTS_SUPPORT_H
#define TAMIS_TESTS_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <cjson/cJSON.h>

/* Path below ../shared ("fixtures/arch/llama.gguf"); valid until the 8th next call. */
const char *shared_path(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Path below the source tree ("testdata/..."). */
const char *source_path(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Exit 77 with a line saying so when the fixtures are not there. */
void require_shared(void);
/* A new empty directory below TMPDIR, removed at exit. */
const char *temp_dir(void);
/* Whole file, NUL added; free() it. Fails the test when missing. */
char *slurp(const char *path, size_t *n_bytes);
/* A JSON file through the bare parser: the project's own refuses the escaped NUL that one fixture
 * holds. cJSON_Delete() it; fails the test when it is none. */
cJSON *slurp_json(const char *path);
/* Call fn with each NAME of fixtures/gguf/valid/NAME.gguf; returns how many. */
int for_each_valid_gguf(void (*fn)(const char *name));
/* Have formats/ use the kernels of a CPU level ("plain", "neon", "avx2", "avx512"; "": the best).
 * False when this CPU lacks it, which is printed: then a lower level is in use. */
bool use_cpu(const char *level);
/* The tests of a table that is run once per CPU level: `test` gets the level as *state. */
#define CPU_LEVEL_TESTS(test)                                                                      \
    {"plain", test, NULL, NULL, (void *)(uintptr_t) "plain"},                                      \
        {"neon", test, NULL, NULL, (void *)(uintptr_t) "neon"},                                    \
        {"avx2", test, NULL, NULL, (void *)(uintptr_t) "avx2"}, {                                  \
        "avx512", test, NULL, NULL, (void *)(uintptr_t) "avx512"                                   \
    }

#endif
