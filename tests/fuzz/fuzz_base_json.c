/* fuzz_base_json.c - any bytes as JSON; what is taken must be written and read again. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/input_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes) {
    char path[64], *text = NULL;
    size_t n_text = 0;
    tamis_error err;
    cJSON *value = NULL, *again = NULL;
    if (tamis_json_parse((const char *)data, n_bytes, "input", &value, &err)) return 0;
    snprintf(path, sizeof path, "/dev/shm/fuzz-json-%ld", (long)getpid());
    if (tamis_json_write(value, path, &err)) abort();
    if (tamis_read_file(path, UINT64_MAX, &text, &n_text, &err)) abort();
    if (tamis_json_parse(text, n_text, "again", &again, &err)) abort();
    unlink(path);
    free(text);
    cJSON_Delete(again);
    cJSON_Delete(value);
    return 0;
}
