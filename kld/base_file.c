/* base_file.c - see base_file.h. Layout, little-endian (docs/kld-base-file.md has the details):
 *   "TAMISKLD" · u32 version · u64 header bytes · header (JSON) · u64 XXH3-64 of all before it
 *   then blocks of the sections: tokens, hidden states, head rows, bias; in version 2 hidden states
 *   and own head rows of each multi-token prediction block
 * The size of every block follows from the header, so a file is held against its header before
 * anything large is allocated (reference/gguf-threats.md rules 18 and 19). Bound: zstd. */
#include "kld/base_file.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/checked.h"
#include "formats/formats.h"
#include "kld/base_block_internal.h"
#include "kld/base_header_internal.h"

enum { VERSION_PLAIN = 1, VERSION_MTP = 2, PREFIX_BYTES = 20, HEADER_MAX_BYTES = 1 << 20 };
static const char MAGIC[8] = {'T', 'A', 'M', 'I', 'S', 'K', 'L', 'D'};

enum { TOKENS, HIDDEN, HEAD, BIAS, MTP, N_SECTIONS = MTP + 2 * TAMIS_KLD_MTP_MAX };
typedef struct layout {
    tamis_base_section sections[N_SECTIONS]; /* n_bytes 0: absent */
    uint64_t head_row_bytes, mtp_row_bytes[TAMIS_KLD_MTP_MAX];
    uint64_t max_block_bytes;
} layout;

/* The section of a multi-token prediction block's hidden states, and that of its own head. */
static int mtp_hidden(int64_t k) {
    return MTP + 2 * (int)k;
}

static int mtp_head(int64_t k) {
    return MTP + 2 * (int)k + 1;
}

static tamis_status head_row(int32_t type_id, uint64_t n_embd, const char *path, uint64_t *out,
                             tamis_error *err) {
    const tamis_type *type = tamis_type_by_id(type_id);
    if (type && type->decode && tamis_type_row_bytes(type, n_embd, out)) return TAMIS_OK;
    return tamis_fail(err, TAMIS_BAD_INPUT,
                      "%s: an output head of type %ld with rows of %llu cannot be decoded", path,
                      (long)type_id, (unsigned long long)n_embd);
}

/* The sections of the blocks; *fits becomes false when they are too large. */
static tamis_status mtp_layout(const tamis_kld_base_info *info, const tamis_kld_plan *plan,
                               const char *path, layout *out, bool *fits, tamis_error *err) {
    const uint64_t n_vocab = (uint64_t)info->parent.n_vocab;
    const uint64_t n_embd = (uint64_t)info->parent.n_embd;
    for (int64_t k = 0; k < info->n_mtp; ++k) {
        const tamis_kld_base_mtp *mtp = &info->mtp[k];
        tamis_base_section *s = out->sections;
        tamis_kld_plan of_block;
        if (tamis_kld_plan_mtp(plan, k, &of_block, NULL))
            return tamis_fail(err, TAMIS_BAD_INPUT,
                              "%s: a context of %lld tokens has no position to score for "
                              "multi-token prediction block %lld",
                              path, (long long)info->n_ctx, (long long)k + 1);
        *fits &= tamis_base_section_of_rows(&s[mtp_hidden(k)], "mtp hidden",
                                            (uint64_t)of_block.n_rows, 4 * n_embd, true);
        if (!mtp->has_head) continue;
        tamis_status st = head_row(mtp->head_type_id, n_embd, path, &out->mtp_row_bytes[k], err);
        if (st) return st;
        *fits &= tamis_base_section_of_rows(&s[mtp_head(k)], "mtp head", n_vocab,
                                            out->mtp_row_bytes[k], false);
    }
    return TAMIS_OK;
}

/* What the header implies. `plan` needs no tokens here. */
static tamis_status layout_of(const tamis_kld_base_info *info, const tamis_kld_plan *plan,
                              const char *path, layout *out, tamis_error *err) {
    const uint64_t n_vocab = (uint64_t)info->parent.n_vocab;
    const uint64_t n_embd = (uint64_t)info->parent.n_embd;
    *out = (layout){0};
    tamis_status st = head_row(info->head_type_id, n_embd, path, &out->head_row_bytes, err);
    if (st) return st;
    tamis_base_section *s = out->sections;
    const uint64_t n_tokens = (uint64_t)info->n_chunks * (uint64_t)info->n_ctx;
    bool fits = tamis_base_section_of_rows(&s[TOKENS], "tokens", n_tokens, 4, true);
    fits &=
        tamis_base_section_of_rows(&s[HIDDEN], "hidden", (uint64_t)plan->n_rows, 4 * n_embd, true);
    fits &= tamis_base_section_of_rows(&s[HEAD], "head", n_vocab, out->head_row_bytes, false);
    fits &= tamis_base_section_of_rows(&s[BIAS], "bias", info->has_bias ? n_vocab : 0, 4, true);
    st = mtp_layout(info, plan, path, out, &fits, err);
    if (st) return st;
    if (!fits)
        return tamis_fail(err, TAMIS_BAD_INPUT, "%s: the header asks for more data than can be",
                          path);
    for (int i = 0; i < N_SECTIONS; ++i) {
        if (s[i].block_bytes > out->max_block_bytes) out->max_block_bytes = s[i].block_bytes;
    }
    return TAMIS_OK;
}

static tamis_status write_header(tamis_output *out, const tamis_kld_base_info *info,
                                 tamis_error *err) {
    char *json = NULL;
    size_t n_json = 0;
    tamis_status st = tamis_base_header_print(info, &json, &n_json, err);
    if (st) return st;
    st = TAMIS_NO_RESOURCE;
    const size_t n_bytes = PREFIX_BYTES + n_json + 8;
    uint8_t *bytes = tamis_alloc_array(n_bytes, 1, err);
    if (!bytes) goto out;
    memcpy(bytes, MAGIC, sizeof MAGIC);
    bytes[8] = info->n_mtp ? VERSION_MTP : VERSION_PLAIN;
    tamis_base_put_u64(bytes + 12, n_json);
    memcpy(bytes + PREFIX_BYTES, json, n_json);
    tamis_base_put_u64(bytes + n_bytes - 8, XXH3_64bits(bytes, n_bytes - 8));
    st = tamis_output_write(out, bytes, n_bytes, err);
out:
    free(bytes);
    free(json);
    return st;
}

static tamis_status write_section(tamis_base_coder *coder, tamis_output *out,
                                  const tamis_base_section *s, const void *data, tamis_error *err) {
    const uint8_t *bytes = data;
    for (uint64_t done = 0; done < s->n_bytes; done += s->block_bytes) {
        if (tamis_interrupted()) return tamis_fail_interrupted(err);
        const uint64_t left = s->n_bytes - done;
        const uint64_t n_bytes = left < s->block_bytes ? left : s->block_bytes;
        tamis_status st =
            tamis_base_write_block(coder, out, bytes + done, n_bytes, s->is_words, err);
        if (st) return st;
    }
    return TAMIS_OK;
}

/* The head's rows are read from the parent block by block. */
static tamis_status write_head(tamis_base_coder *coder, tamis_output *out,
                               const tamis_base_section *s, uint64_t row_bytes, tamis_head *head,
                               tamis_error *err) {
    const int64_t n_vocab = tamis_head_n_vocab(head);
    const int64_t n_block_rows = (int64_t)(s->block_bytes / row_bytes);
    uint8_t *rows = tamis_alloc_array(s->block_bytes, 1, err);
    if (!rows) return TAMIS_NO_RESOURCE;
    tamis_status st = TAMIS_OK;
    for (int64_t first = 0; first < n_vocab && !st; first += n_block_rows) {
        const int64_t n = n_vocab - first < n_block_rows ? n_vocab - first : n_block_rows;
        st = tamis_interrupted() ? tamis_fail_interrupted(err)
                                 : tamis_head_read_rows(head, first, n, rows, err);
        if (!st)
            st =
                tamis_base_write_block(coder, out, rows, (uint64_t)n * row_bytes, s->is_words, err);
    }
    free(rows);
    return st;
}

static tamis_status write_mtp(tamis_base_coder *coder, tamis_output *out, const layout *l,
                              const tamis_kld_base_info *info, const tamis_kld_side *mtp,
                              tamis_error *err) {
    tamis_status st = TAMIS_OK;
    for (int64_t k = 0; k < info->n_mtp && !st; ++k) {
        st = write_section(coder, out, &l->sections[mtp_hidden(k)], mtp[k].hidden, err);
        if (!st && info->mtp[k].has_head)
            st = write_head(coder, out, &l->sections[mtp_head(k)], l->mtp_row_bytes[k], mtp[k].head,
                            err);
    }
    return st;
}

static tamis_kld_base_info with_heads(const tamis_kld_base_info *info, const tamis_head *head,
                                      const tamis_kld_side *mtp) {
    tamis_kld_base_info full = *info;
    full.head_type_id = tamis_head_type_id(head);
    full.weight_scale = tamis_head_weight_scale(head);
    full.softcap = tamis_head_softcap(head);
    full.has_bias = tamis_head_bias(head) != NULL;
    full.parent.n_vocab = tamis_head_n_vocab(head);
    full.parent.n_embd = tamis_head_n_embd(head);
    for (int64_t k = 0; k < full.n_mtp; ++k) {
        if (!full.mtp[k].has_head) continue;
        full.mtp[k].head_type_id = tamis_head_type_id(mtp[k].head);
        full.mtp[k].weight_scale = tamis_head_weight_scale(mtp[k].head);
    }
    return full;
}

tamis_status tamis_kld_base_max_bytes(const char *path, const tamis_kld_base_info *info,
                                      const tamis_kld_plan *plan, const tamis_head *head,
                                      const tamis_kld_side *mtp, uint64_t *out, tamis_error *err) {
    const tamis_kld_base_info full = with_heads(info, head, mtp);
    layout l;
    tamis_status st = layout_of(&full, plan, path, &l, err);
    if (st) return st;
    *out = PREFIX_BYTES + HEADER_MAX_BYTES + 8;
    for (int i = 0; i < N_SECTIONS; ++i)
        *out += tamis_base_section_max_bytes(&l.sections[i]);
    return TAMIS_OK;
}

tamis_status tamis_kld_base_write(const char *path, const tamis_kld_base_info *info,
                                  const tamis_kld_plan *plan, const float *hidden, tamis_head *head,
                                  const tamis_kld_side *mtp, tamis_error *err) {
    const tamis_kld_base_info full = with_heads(info, head, mtp);
    tamis_base_coder coder = {0};
    tamis_output *out = NULL;
    layout l;
    tamis_status st = layout_of(&full, plan, path, &l, err);
    if (st) return st;
    st = tamis_base_coder_init(&coder, l.max_block_bytes, err);
    if (st) goto out;
    st = tamis_output_open(path, &out, err);
    if (st) goto out;
    st = write_header(out, &full, err);
    if (st) goto out;
    st = write_section(&coder, out, &l.sections[TOKENS], plan->tokens, err);
    if (st) goto out;
    st = write_section(&coder, out, &l.sections[HIDDEN], hidden, err);
    if (st) goto out;
    st = write_head(&coder, out, &l.sections[HEAD], l.head_row_bytes, head, err);
    if (st) goto out;
    st = write_section(&coder, out, &l.sections[BIAS], tamis_head_bias(head), err);
    if (st) goto out;
    st = write_mtp(&coder, out, &l, &full, mtp, err);
    if (st) goto out;
    st = tamis_output_commit(out, err);
    out = NULL;
out:
    tamis_output_discard(out);
    tamis_base_coder_release(&coder);
    return st;
}

static tamis_status read_header(const tamis_input *in, tamis_kld_base_info *info, uint64_t *offset,
                                tamis_error *err) {
    const char *path = tamis_input_path(in);
    const uint64_t size = tamis_input_size(in);
    uint8_t prefix[PREFIX_BYTES];
    if (size < sizeof prefix)
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "%s: not a base file, or cut in its header (%llu bytes)", path,
                          (unsigned long long)size);
    tamis_status st = tamis_input_read(in, 0, sizeof prefix, prefix, err);
    if (st) return st;
    if (memcmp(prefix, "_logits_", 8) == 0)
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "%s: a base file of llama-perplexity, not one of kld; its layout is "
                          "another",
                          path);
    if (memcmp(prefix, MAGIC, sizeof MAGIC) != 0)
        return tamis_fail(err, TAMIS_BAD_INPUT, "%s: not a base file (its first bytes are others)",
                          path);
    const uint64_t n_json = tamis_base_get_u64(prefix + 12);
    const uint32_t version = (uint32_t)prefix[8] | (uint32_t)prefix[9] << 8 |
                             (uint32_t)prefix[10] << 16 | (uint32_t)prefix[11] << 24;
    if (version != VERSION_PLAIN && version != VERSION_MTP)
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "%s: base file of version %lu, this tool reads versions %d and %d", path,
                          (unsigned long)version, VERSION_PLAIN, VERSION_MTP);
    if (n_json > HEADER_MAX_BYTES || n_json + 8 > size - PREFIX_BYTES)
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "%s: header of %llu bytes at byte %d runs past the end or the limit of "
                          "%d",
                          path, (unsigned long long)n_json, PREFIX_BYTES, HEADER_MAX_BYTES);
    const size_t n_bytes = PREFIX_BYTES + (size_t)n_json + 8;
    uint8_t *bytes = tamis_alloc_array(n_bytes, 1, err);
    if (!bytes) return TAMIS_NO_RESOURCE;
    st = tamis_input_read(in, 0, n_bytes, bytes, err);
    if (!st && XXH3_64bits(bytes, n_bytes - 8) != tamis_base_get_u64(bytes + n_bytes - 8))
        st = tamis_fail(err, TAMIS_BAD_INPUT,
                        "%s: the header's checksum is wrong; the file is "
                        "damaged, write it again",
                        path);
    if (!st)
        st = tamis_base_header_parse((const char *)bytes + PREFIX_BYTES, (size_t)n_json,
                                     version == VERSION_MTP, path, info, err);
    free(bytes);
    *offset = n_bytes;
    return st;
}

static tamis_status walk(const tamis_input *in, const layout *l, uint64_t offset,
                         tamis_error *err) {
    for (int i = 0; i < N_SECTIONS; ++i) {
        tamis_status st = tamis_base_walk(in, &l->sections[i], &offset, err);
        if (st) return st;
    }
    if (offset == tamis_input_size(in)) return TAMIS_OK;
    return tamis_fail(err, TAMIS_BAD_INPUT,
                      "%s: its blocks end at byte %llu, the file has %llu; it is damaged, write it "
                      "again",
                      tamis_input_path(in), (unsigned long long)offset,
                      (unsigned long long)tamis_input_size(in));
}

static tamis_status allocate(tamis_kld_base *base, const layout *l, tamis_budget *budget,
                             tamis_error *err) {
    const tamis_base_section *s = l->sections;
    base->tokens = tamis_alloc_array(s[TOKENS].n_bytes / 4, 4, err);
    if (!base->tokens) return TAMIS_NO_RESOURCE;
    if (base->info.has_bias) {
        base->bias = tamis_alloc_array(s[BIAS].n_bytes / 4, 4, err);
        if (!base->bias) return TAMIS_NO_RESOURCE;
    }
    tamis_status st = tamis_store_init(&base->hidden, s[HIDDEN].n_bytes, 1,
                                       "hidden states of the base", budget, err);
    if (st) return st;
    st = tamis_store_init(&base->weights, s[HEAD].n_bytes, 1, "output head of the base", budget,
                          err);
    for (int64_t k = 0; k < base->info.n_mtp && !st; ++k) {
        st = tamis_store_init(&base->mtp_hidden[k], s[mtp_hidden(k)].n_bytes, 1,
                              "hidden states of the base", budget, err);
        if (!st && base->info.mtp[k].has_head)
            st = tamis_store_init(&base->mtp_weights[k], s[mtp_head(k)].n_bytes, 1,
                                  "output head of the base", budget, err);
    }
    return st;
}

static tamis_status check_hidden(const tamis_kld_base *base, const tamis_store *hidden,
                                 const tamis_base_section *s, const char *path, tamis_error *err) {
    const int64_t n_values = (int64_t)(s->n_bytes / 4);
    const int64_t i_bad = tamis_find_nonfinite(hidden->data, n_values);
    if (i_bad == n_values) return TAMIS_OK;
    return tamis_fail(err, TAMIS_BAD_INPUT, "%s: hidden state of position %lld is not finite", path,
                      (long long)(i_bad / base->info.parent.n_embd));
}

static tamis_status check_values(const tamis_kld_base *base, const layout *l, const char *path,
                                 tamis_error *err) {
    const uint64_t n_tokens = l->sections[TOKENS].n_bytes / 4;
    for (uint64_t i = 0; i < n_tokens; ++i) {
        if (base->tokens[i] < 0 || base->tokens[i] >= base->info.parent.n_vocab)
            return tamis_fail(
                err, TAMIS_BAD_INPUT, "%s: token %llu is %ld, outside the vocabulary of %lld", path,
                (unsigned long long)i, (long)base->tokens[i], (long long)base->info.parent.n_vocab);
    }
    tamis_status st = check_hidden(base, &base->hidden, &l->sections[HIDDEN], path, err);
    for (int64_t k = 0; k < base->info.n_mtp && !st; ++k)
        st = check_hidden(base, &base->mtp_hidden[k], &l->sections[mtp_hidden(k)], path, err);
    if (st) return st;
    const int64_t n_bias = (int64_t)(l->sections[BIAS].n_bytes / 4);
    const int64_t i_bias = base->bias ? tamis_find_nonfinite(base->bias, n_bias) : n_bias;
    if (i_bias < n_bias)
        return tamis_fail(err, TAMIS_BAD_INPUT, "%s: bias of token %lld is not finite", path,
                          (long long)i_bias);
    return TAMIS_OK;
}

static tamis_status read_sections(const tamis_input *in, const layout *l, uint64_t offset,
                                  tamis_kld_base *base, tamis_error *err) {
    void *targets[N_SECTIONS] = {base->tokens, base->hidden.data, base->weights.data, base->bias};
    for (int64_t k = 0; k < base->info.n_mtp; ++k) {
        targets[mtp_hidden(k)] = base->mtp_hidden[k].data;
        targets[mtp_head(k)] = base->mtp_weights[k].data;
    }
    tamis_base_coder coder;
    tamis_status st = tamis_base_coder_init(&coder, l->max_block_bytes, err);
    for (int i = 0; i < N_SECTIONS && !st; ++i) {
        st = tamis_base_read(&coder, in, &l->sections[i], &offset, targets[i], err);
    }
    tamis_base_coder_release(&coder);
    if (st) return st;
    return check_values(base, l, tamis_input_path(in), err);
}

tamis_status tamis_kld_base_read(const char *path, tamis_budget *budget, tamis_kld_base *out,
                                 tamis_error *err) {
    *out = (tamis_kld_base){0};
    const tamis_kld_base_info *info = &out->info;
    tamis_input *in = NULL;
    uint64_t offset = 0;
    layout l;
    tamis_status st = tamis_input_open(path, TAMIS_INPUT_READ, &in, err);
    if (st) return st;
    st = read_header(in, &out->info, &offset, err);
    if (st) goto out;
    st = tamis_kld_plan_init(&out->plan, NULL, info->n_ctx, info->n_chunks, info->score, err);
    if (st) {
        st = tamis_fail(err, TAMIS_BAD_INPUT,
                        "%s: a context of %lld tokens has no position to "
                        "score",
                        path, (long long)info->n_ctx);
        goto out;
    }
    st = layout_of(info, &out->plan, path, &l, err);
    if (st) goto out;
    st = walk(in, &l, offset, err);
    if (st) goto out;
    st = allocate(out, &l, budget, err);
    if (st) goto out;
    st = read_sections(in, &l, offset, out, err);
    if (st) goto out;
    out->plan.tokens = out->tokens;
    st = tamis_head_from_bytes(info->head_type_id, info->parent.n_embd, info->parent.n_vocab,
                               out->weights.data, out->bias, info->weight_scale, info->softcap,
                               &out->head, err);
    for (int64_t k = 0; k < info->n_mtp && !st; ++k)
        if (info->mtp[k].has_head)
            st = tamis_head_from_bytes(info->mtp[k].head_type_id, info->parent.n_embd,
                                       info->parent.n_vocab, out->mtp_weights[k].data, NULL,
                                       info->mtp[k].weight_scale, info->softcap, &out->mtp_heads[k],
                                       err);
out:
    tamis_input_close(in);
    if (st) tamis_kld_base_release(out);
    return st;
}

void tamis_kld_base_release(tamis_kld_base *base) {
    if (!base) return;
    tamis_head_close(base->head);
    tamis_store_release(&base->hidden);
    tamis_store_release(&base->weights);
    for (int64_t k = 0; k < TAMIS_KLD_MTP_MAX; ++k) {
        tamis_head_close(base->mtp_heads[k]);
        tamis_store_release(&base->mtp_hidden[k]);
        tamis_store_release(&base->mtp_weights[k]);
    }
    free(base->tokens);
    free(base->bias);
    *base = (tamis_kld_base){0};
}
