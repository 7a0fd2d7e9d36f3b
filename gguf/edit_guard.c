/* edit_guard.c - keys that are not free to change: the tensors, the vocabulary or the
 * other files of a set depend on them. --force lets the first two through; what breaks
 * a set is never written. Keys: reference/gguf.md sections 1.5, 4 and 5. */
#include <string.h>

#include "gguf/edit_internal.h"

static const struct guarded {
    const char *key; /* "{arch}" stands for the value of general.architecture */
    bool is_free_at_same_length;
    const char *reason;
} guarded[] = {
    {"general.architecture", false, "the names of keys and tensors belong to it"},
    {"general.alignment", false, "llama.cpp's own tools lay files out with 32 whatever it says"},
    {"tokenizer.ggml.tokens", true, "the rows of the token embedding are as many"},
    {"tokenizer.ggml.scores", true, "there is one for each token"},
    {"tokenizer.ggml.token_type", true, "there is one for each token"},
    {"tokenizer.ggml.merges", true, "text would be cut into other tokens"},
    {"{arch}.block_count", false, "it counts the layers that are there"},
    {"{arch}.nextn_predict_layers", false, "it counts the layers that are there"},
    {"{arch}.embedding_length", false, "the shapes of the tensors follow from it"},
    {"{arch}.feed_forward_length", false, "the shapes of the tensors follow from it"},
    {"{arch}.attention.head_count", false, "the shapes of the tensors follow from it"},
    {"{arch}.attention.head_count_kv", false, "the shapes of the tensors follow from it"},
    {"{arch}.attention.key_length", false, "the shapes of the tensors follow from it"},
    {"{arch}.attention.value_length", false, "the shapes of the tensors follow from it"},
    {"{arch}.expert_count", false, "the shapes of the tensors follow from it"},
    {"{arch}.vocab_size", false, "the rows of the token embedding are as many"},
};

/* The key of a row with the architecture of the file as it was. */
static bool is_row(const tamis_gguf_edit *edit, const char *pattern, tamis_bytes key) {
    static const char mark[] = "{arch}";
    tamis_bytes arch = {0};
    if (strncmp(pattern, mark, sizeof mark - 1) != 0) return gguf_is_key(key, pattern);
    pattern += sizeof mark - 1;
    if (tamis_gguf_get_string(edit->before.view, "general.architecture", &arch, NULL) || !arch.data)
        return false;
    return key.n_bytes > arch.n_bytes && !memcmp(key.data, arch.data, arch.n_bytes) &&
           gguf_is_key((tamis_bytes){key.data + arch.n_bytes, key.n_bytes - arch.n_bytes}, pattern);
}

/* Keys of a set: they go with its files. In a whole file they may be removed, or say "one file". */
static tamis_status guard_split(const tamis_gguf_edit *edit, const tamis_gguf_change *c,
                                tamis_error *err) {
    char quoted[GGUF_QUOTE_BYTES];
    int64_t value = 0;
    gguf_quote(c->key, quoted);
    if (tamis_gguf_n_files(edit->source) > 1)
        return tamis_fail(err, TAMIS_BAD_USAGE,
                          "key '%s' ties the %d files of this model together; gguf merge and gguf "
                          "split make other files of them",
                          quoted, tamis_gguf_n_files(edit->source));
    if (!c->has_after || !gguf_is_key(c->key, "split.count")) return TAMIS_OK;
    if (tamis_gguf_kv_int(edit->after.view, &c->after, 0, &value) && value <= 1) return TAMIS_OK;
    return tamis_fail(err, TAMIS_BAD_USAGE,
                      "key '%s': there are no %lld files of this model; gguf split makes them",
                      quoted, (long long)value);
}

tamis_status gguf_guard_change(const tamis_gguf_edit *edit, const tamis_gguf_change *c,
                               bool is_forced, tamis_error *err) {
    char quoted[GGUF_QUOTE_BYTES];
    if (c->key.n_bytes > 6 && !memcmp(c->key.data, "split.", 6)) return guard_split(edit, c, err);
    for (size_t i = 0; !is_forced && i < sizeof guarded / sizeof guarded[0]; i++) {
        const struct guarded *row = &guarded[i];
        if (!is_row(edit, row->key, c->key)) continue;
        if (row->is_free_at_same_length && c->has_before && c->has_after &&
            c->before.n_elems == c->after.n_elems)
            continue;
        return tamis_fail(err, TAMIS_BAD_USAGE,
                          "key '%s' is not free to change: %s; --force does it all the same",
                          gguf_quote(c->key, quoted), row->reason);
    }
    return TAMIS_OK;
}
