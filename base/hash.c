/* hash.c - XXH3-128 and XXH64 through libxxhash, SHA-256 and SHA-1 through libcrypto.
 * Where the library has XXH3 for several CPU levels (TAMIS_XXH3_DISPATCH) the best one is taken:
 * the same digest, twice as fast with AVX2 or AVX-512 as with SSE2. */
#include "base/hash.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>
#ifdef TAMIS_XXH3_DISPATCH
#include <xxh_x86dispatch.h>
#endif

#include "base/checked.h"
#include "base/input_file.h"

struct tamis_hash {
    tamis_hash_kind kind;
    XXH3_state_t *xxh3;
    XXH64_state_t *xxh64;
    EVP_MD_CTX *evp;
};

static bool start(tamis_hash *h) {
    switch (h->kind) {
    case TAMIS_HASH_XXH3_128:
        return h->xxh3 && XXH3_128bits_reset(h->xxh3) == XXH_OK;
    case TAMIS_HASH_XXH64:
        return h->xxh64 && XXH64_reset(h->xxh64, 0) == XXH_OK;
    case TAMIS_HASH_SHA256:
        return h->evp && EVP_DigestInit_ex(h->evp, EVP_sha256(), NULL) == 1;
    case TAMIS_HASH_SHA1:
        return h->evp && EVP_DigestInit_ex(h->evp, EVP_sha1(), NULL) == 1;
    }
    return false;
}

tamis_status tamis_hash_restart(tamis_hash *h, tamis_error *err) {
    if (start(h)) return TAMIS_OK;
    return tamis_fail(err, TAMIS_NO_RESOURCE, "cannot start a hash: out of memory");
}

tamis_status tamis_hash_new(tamis_hash_kind kind, tamis_hash **out, tamis_error *err) {
    *out = NULL;
    tamis_hash *h = tamis_alloc_array(1, sizeof *h, err);
    if (!h) return TAMIS_NO_RESOURCE;
    h->kind = kind;
    if (kind == TAMIS_HASH_XXH3_128)
        h->xxh3 = XXH3_createState();
    else if (kind == TAMIS_HASH_XXH64)
        h->xxh64 = XXH64_createState();
    else
        h->evp = EVP_MD_CTX_new();
    tamis_status st = tamis_hash_restart(h, err);
    if (st)
        tamis_hash_free(h);
    else
        *out = h;
    return st;
}

void tamis_hash_free(tamis_hash *h) {
    if (!h) return;
    XXH3_freeState(h->xxh3);
    XXH64_freeState(h->xxh64);
    EVP_MD_CTX_free(h->evp);
    free(h);
}

void tamis_hash_update(tamis_hash *h, const void *data, size_t n_bytes) {
    if (n_bytes == 0) return;
    if (h->kind == TAMIS_HASH_XXH3_128)
        XXH3_128bits_update(h->xxh3, data, n_bytes);
    else if (h->kind == TAMIS_HASH_XXH64)
        XXH64_update(h->xxh64, data, n_bytes);
    else
        EVP_DigestUpdate(h->evp, data, n_bytes);
}

/* The finished digest; returns its bytes, 0 when the library failed. */
static unsigned digest_of(tamis_hash *h, unsigned char digest[EVP_MAX_MD_SIZE]) {
    unsigned n = 0;
    if (h->kind == TAMIS_HASH_XXH3_128) {
        XXH128_canonical_t canonical;
        XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(h->xxh3));
        memcpy(digest, canonical.digest, sizeof canonical.digest);
        return sizeof canonical.digest;
    }
    if (h->kind == TAMIS_HASH_XXH64) {
        XXH64_canonical_t canonical;
        XXH64_canonicalFromHash(&canonical, XXH64_digest(h->xxh64));
        memcpy(digest, canonical.digest, sizeof canonical.digest);
        return sizeof canonical.digest;
    }
    return EVP_DigestFinal_ex(h->evp, digest, &n) == 1 ? n : 0;
}

char *tamis_hash_hex(tamis_hash *h, char hex[TAMIS_HASH_HEX_MAX]) {
    static const char digits[] = "0123456789abcdef";
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned n = digest_of(h, digest);
    for (unsigned i = 0; i < n; i++) {
        hex[2 * i] = digits[digest[i] >> 4];
        hex[2 * i + 1] = digits[digest[i] & 15];
    }
    hex[2 * n] = 0;
    return hex;
}

tamis_status tamis_hash_bytes(tamis_hash_kind kind, const void *data, size_t n_bytes,
                              char hex[TAMIS_HASH_HEX_MAX], tamis_error *err) {
    tamis_hash *h = NULL;
    tamis_status st = tamis_hash_new(kind, &h, err);
    if (st) return st;
    tamis_hash_update(h, data, n_bytes);
    tamis_hash_hex(h, hex);
    tamis_hash_free(h);
    return TAMIS_OK;
}

tamis_status tamis_hash_file(tamis_hash_kind kind, const char *path, char hex[TAMIS_HASH_HEX_MAX],
                             tamis_error *err) {
    enum { PIECE_BYTES = 1 << 20 };
    tamis_input *in = NULL;
    tamis_hash *h = NULL;
    char *piece = NULL;
    tamis_status st = tamis_input_open(path, TAMIS_INPUT_READ, &in, err);
    if (st) goto out;
    st = tamis_hash_new(kind, &h, err);
    if (st) goto out;
    st = TAMIS_NO_RESOURCE;
    piece = tamis_alloc_array(PIECE_BYTES, 1, err);
    if (!piece) goto out;
    uint64_t size = tamis_input_size(in);
    for (uint64_t at = 0; at < size;) {
        size_t n = size - at < PIECE_BYTES ? (size_t)(size - at) : PIECE_BYTES;
        st = tamis_input_read(in, at, n, piece, err);
        if (st) goto out;
        tamis_hash_update(h, piece, n);
        at += n;
    }
    tamis_hash_hex(h, hex);
    st = TAMIS_OK;
out:
    free(piece);
    tamis_hash_free(h);
    tamis_input_close(in);
    return st;
}
