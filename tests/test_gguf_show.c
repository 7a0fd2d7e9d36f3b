/* test_gguf_show.c - `gguf show --json` says what the reference .json files say (they also hold
 * hashes of the data, which it does not read). */
#include "support.h"

#include <stdlib.h>
#include <string.h>

#include "gguf/gguf.h"
#include "gguf/show.h"
#include "gguf/tensor_names.h"

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
    cJSON_DeleteItemFromObject(have, "sums");
    if (!cJSON_Compare(want, have, true)) fail_msg("%s differs:\n%s", path, cJSON_Print(have));
    cJSON_Delete(have);
    cJSON_Delete(want);
    tamis_gguf_close(g);
}

static void test_fixtures(void **state) {
    (void)state;
    assert_true(for_each_valid_gguf(compare) >= 30);
}

static void test_names(void **state) {
    static const struct {
        const char *name;
        tamis_tensor_kind kind;
        size_t n_layer; /* bytes of the part that names the layer */
        int64_t layer;
    } cases[] = {
        { "token_embd.weight", TAMIS_KIND_EMBEDDING, 0, 0 },
        { "per_layer_token_embd.weight", TAMIS_KIND_EMBEDDING, 0, 0 },
        { "output.weight", TAMIS_KIND_OUTPUT, 0, 0 },
        { "output_norm.weight", TAMIS_KIND_NORM, 0, 0 },
        { "blk.0.attn_output.weight", TAMIS_KIND_ATTENTION, 5, 0 },
        { "blk.12.attn_q_norm.weight", TAMIS_KIND_NORM, 6, 12 },
        { "blk.3.ffn_up.weight", TAMIS_KIND_FFN, 5, 3 },
        { "blk.3.ffn_gate_inp.weight", TAMIS_KIND_ROUTER, 5, 3 },
        { "blk.3.exp_probs_b.bias", TAMIS_KIND_ROUTER, 5, 3 },
        { "blk.3.ffn_gate_inp_shexp.weight", TAMIS_KIND_ROUTER, 5, 3 },
        { "blk.3.ffn_down_exps.weight", TAMIS_KIND_EXPERTS, 5, 3 },
        { "blk.3.ffn_down_shexp.weight", TAMIS_KIND_SHARED_EXPERTS, 5, 3 },
        { "blk.3.ssm_conv1d.weight", TAMIS_KIND_SSM, 5, 3 },
        { "blk.40.nextn.eh_proj.weight", TAMIS_KIND_MTP, 6, 40 },
        { "v.blk.7.attn_q.weight", TAMIS_KIND_VISION, 7, 7 },
        { "mm.0.weight", TAMIS_KIND_PROJECTOR, 0, 0 },
        { "mm.a.input_projection.weight", TAMIS_KIND_PROJECTOR, 0, 0 },
        { "a.blk.2.conv_dw.weight", TAMIS_KIND_AUDIO, 7, 2 },
        { "rope_freqs.weight", TAMIS_KIND_OTHER, 0, 0 },
        { "blk.x.attn_q.weight", TAMIS_KIND_ATTENTION, 0, 0 },
        { "blk.99999999999999999999.attn_q.weight", TAMIS_KIND_ATTENTION, 0, 0 },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t layer = 0;
        if (tamis_tensor_kind_of(cases[i].name) != cases[i].kind) fail_msg("%s", cases[i].name);
        assert_int_equal(tamis_tensor_layer(cases[i].name, &layer), cases[i].n_layer);
        assert_int_equal(layer, cases[i].layer);
    }
}

int main(void) {
    require_shared();
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_fixtures),
                                        cmocka_unit_test(test_names) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
