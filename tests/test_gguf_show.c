/* test_gguf_show.c - `gguf show --json` says what the reference .json files say (they also hold
 * hashes of the data, which it does not read). */
#include "support.h"

#include <stdlib.h>
#include <string.h>

#include "gguf/gguf.h"
#include "gguf/show.h"

static void drop_hashes(cJSON *want) {
    static const char *const hashes[] = { "xxh3_128", "sha256", "xxh3_128_le", "sha256_le" };
    cJSON *tensor;
    cJSON_ArrayForEach(tensor, cJSON_GetObjectItem(want, "tensors")) {
        for (size_t i = 0; i < sizeof hashes / sizeof hashes[0]; i++)
            cJSON_DeleteItemFromObject(tensor, hashes[i]);
    }
}

static void compare(const char *name) {
    tamis_gguf_options reading = { .single_file = true };
    tamis_gguf_show_options options = { 0 };
    tamis_error err = { 0 };
    tamis_gguf *g = NULL;
    cJSON *have = NULL;
    /* This one has a text with NUL, which the C strings of the parser cannot hold. */
    if (!strcmp(name, "bytes-in-strings")) return;
    cJSON *want = slurp_json(shared_path("fixtures/gguf/valid/%s.json", name));
    drop_hashes(want);
    const char *path = shared_path("fixtures/gguf/valid/%s.gguf", name);
    if (tamis_gguf_open(path, &reading, &g, &err)) fail_msg("%s", err.message);
    if (tamis_gguf_show_json(g, &options, &have, &err)) fail_msg("%s", err.message);
    if (!cJSON_Compare(want, have, true)) fail_msg("%s differs:\n%s", path, cJSON_Print(have));
    cJSON_Delete(have);
    cJSON_Delete(want);
    tamis_gguf_close(g);
}

static void test_fixtures(void **state) {
    (void)state;
    assert_true(for_each_valid_gguf(compare) >= 30);
}

int main(void) {
    require_shared();
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_fixtures) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
