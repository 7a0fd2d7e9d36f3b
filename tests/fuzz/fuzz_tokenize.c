/* fuzz_tokenize.c - a vocabulary from hostile keys, and hostile text through it.
 * The input is a GGUF file; its own bytes are the text. What is tokenized must come back
 * as text without an error. */
#include <stdint.h>
#include <stdlib.h>

#include "model/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

static void round_trip(const tamis_tokenizer *t, const char *text, size_t n_bytes, bool special) {
    tamis_tokens ids = {0};
    tamis_error err;
    char *back = NULL;
    size_t n_back;
    if (tamis_tokenize(t, text, n_bytes, special, special, &ids, &err) == TAMIS_OK &&
        tamis_detokenize(t, ids.ids, ids.n_ids, special, &back, &n_back, &err) != TAMIS_OK)
        abort(); /* every id it gives is one of its own */
    free(back);
    tamis_tokens_release(&ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes) {
    tamis_gguf *g = NULL;
    tamis_tokenizer *t = NULL;
    tamis_error err;
    if (tamis_gguf_open_memory(data, n_bytes, NULL, &g, &err) == TAMIS_OK &&
        tamis_tokenizer_new(g, &t, &err) == TAMIS_OK) {
        round_trip(t, (const char *)data, n_bytes, false);
        round_trip(t, (const char *)data, n_bytes, true);
    }
    tamis_tokenizer_free(t);
    tamis_gguf_close(g);
    return 0;
}
