/* parent.c - see parent.h. */
#include "kld/parent.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/atomic_file.h"
#include "base/checked.h"
#include "base/hash.h"
#include "model/head.h"

enum { DEFAULT_CTX = 512 };

/* What --base names: nothing yet (a model has to be run) or a file in one of two layouts. Another
 * answer than yes or no is an error. */
static tamis_status find_base(const tamis_kld_options *o, tamis_kld_parent_kind *kind,
                              tamis_error *err) {
    struct stat st;
    *kind = TAMIS_KLD_PARENT_MODEL;
    if (!o->base_path) return TAMIS_OK;
    if (stat(o->base_path, &st) == 0) {
        *kind = tamis_llama_base_is_one(o->base_path) ? TAMIS_KLD_PARENT_LLAMA_BASE
                                                      : TAMIS_KLD_PARENT_BASE;
        return TAMIS_OK;
    }
    if (errno == ENOENT) return TAMIS_OK;
    return tamis_fail_errno(err, TAMIS_BAD_INPUT, "%s: cannot look at the base file", o->base_path);
}

static tamis_status check_options(const tamis_kld_options *o, tamis_kld_parent_kind kind,
                                  tamis_error *err) {
    const bool has_base = kind != TAMIS_KLD_PARENT_MODEL;
    if (o->text_path && o->tokens_path)
        return tamis_fail(err, TAMIS_BAD_USAGE, "-f and --tokens both name the text; give one");
    if (!o->parent_path && !has_base) {
        if (o->base_path)
            return tamis_fail(err, TAMIS_BAD_INPUT,
                              "%s: no such base file; give -m and -f to write it", o->base_path);
        return tamis_fail(err, TAMIS_BAD_USAGE, "no parent: give -m FILE, or --base FILE");
    }
    if (!o->text_path && !o->tokens_path && !has_base)
        return tamis_fail(err, TAMIS_BAD_USAGE, "no text: give -f FILE, or --tokens FILE");
    if ((o->text_path || o->tokens_path) && !o->parent_path && o->n_quants == 0)
        return tamis_fail(err, TAMIS_BAD_USAGE,
                          "a text beside a base file needs a model to compare (-q or -m)");
    if ((o->per_chunk || o->n_worst) && o->n_quants == 0)
        return tamis_fail(err, TAMIS_BAD_USAGE,
                          "--per-chunk and --worst need a model to compare (-q); for running "
                          "perplexities use --ppl");
    if (o->mtp && kind == TAMIS_KLD_PARENT_LLAMA_BASE)
        return tamis_fail(err, TAMIS_BAD_USAGE,
                          "%s: a base file of llama-perplexity holds nothing of multi-token "
                          "prediction; leave --mtp out, or give the parent with -m and no base",
                          o->base_path);
    if (o->save_logits_path && kind == TAMIS_KLD_PARENT_LLAMA_BASE)
        return tamis_fail(err, TAMIS_BAD_USAGE,
                          "%s is already in the layout that --save-all-logits writes",
                          o->base_path);
    return TAMIS_OK;
}

/* Heads of the blocks to be judged. */
static tamis_status open_mtp(tamis_kld_parent *p, const tamis_kld_options *o, tamis_error *err) {
    tamis_model *model = p->source.model;
    const int64_t n_mtp = tamis_model_n_mtp(model);
    if (!o->mtp) return TAMIS_OK;
    if (n_mtp == 0)
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "%s has no multi-token prediction blocks; leave --mtp out",
                          o->parent_path);
    if (n_mtp > TAMIS_KLD_MTP_MAX)
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "%s has %lld multi-token prediction blocks; --mtp judges at most %d",
                          o->parent_path, (long long)n_mtp, TAMIS_KLD_MTP_MAX);
    p->n_mtp = n_mtp;
    tamis_status st = TAMIS_OK;
    for (int64_t k = 0; k < n_mtp && !st; ++k) {
        st = tamis_head_open_mtp(model, k, &p->own_mtp_heads[k], &p->mtp_has_head[k], err);
        p->mtp[k].head = p->own_mtp_heads[k];
    }
    return st;
}

static tamis_status prepare_model(tamis_kld_parent *p, const tamis_kld_options *o,
                                  tamis_kld_result *r, tamis_error *err) {
    const int64_t n_ctx = o->n_ctx ? o->n_ctx : o->tokens_path ? 0 : DEFAULT_CTX;
    tamis_status st = TAMIS_OK;
    if (o->score) st = tamis_kld_score_parse(o->score, &r->score, err);
    if (!st && o->base_path) st = tamis_kld_check_output(o, o->base_path, err);
    if (st) return st;
    r->parent = p->source.identity;
    st = tamis_kld_read_text(o, n_ctx, o->max_chunks, 0, &p->source, &p->chunks, &r->text, err);
    if (!st) st = tamis_head_open(p->source.model, &p->own_head, err);
    if (!st) st = open_mtp(p, o, err);
    if (st) return st;
    p->head = p->own_head;
    return tamis_kld_plan_init(&p->plan, p->chunks.tokens, p->chunks.n_ctx, p->chunks.n_chunks,
                               r->score, err);
}

static tamis_status differs(tamis_error *err, const char *path, const char *what, long long base,
                            long long asked) {
    return tamis_fail(err, TAMIS_BAD_INPUT,
                      "%s: the base has %s %lld, not %lld; leave the option out or write another "
                      "base",
                      path, what, base, asked);
}

static tamis_status check_score(const tamis_kld_options *o, tamis_kld_score base,
                                tamis_error *err) {
    tamis_kld_score score = base;
    tamis_status st = o->score ? tamis_kld_score_parse(o->score, &score, err) : TAMIS_OK;
    if (st || score == base) return st;
    return tamis_fail(err, TAMIS_BAD_INPUT, "%s: the base was made with --score %s, not %s",
                      o->base_path, tamis_kld_score_name(base), tamis_kld_score_name(score));
}

static tamis_status prepare_base(tamis_kld_parent *p, const tamis_kld_options *o,
                                 const tamis_kld_machine *machine, tamis_kld_result *r,
                                 tamis_error *err) {
    const tamis_kld_base_info *info = &p->base.info;
    const char *path = o->base_path;
    tamis_status st = tamis_kld_base_read(path, machine->budget, &p->base, err);
    if (st) return st;
    r->parent = info->parent;
    r->text = info->text;
    r->score = info->score;
    p->plan = p->base.plan;
    p->head = p->base.head;
    p->hidden = p->base.hidden.data;
    if (o->mtp && info->n_mtp == 0)
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "%s: the base holds nothing of multi-token prediction; write it again "
                          "with --mtp",
                          path);
    p->n_mtp = o->mtp ? info->n_mtp : 0;
    for (int64_t k = 0; k < p->n_mtp; ++k) {
        p->mtp[k] = (tamis_kld_side){p->base.mtp_heads[k] ? p->base.mtp_heads[k] : p->head,
                                     p->base.mtp_hidden[k].data};
    }
    if (o->n_ctx && o->n_ctx != info->n_ctx)
        return differs(err, path, "a context of", info->n_ctx, o->n_ctx);
    if (o->max_chunks && o->max_chunks != info->n_chunks)
        return differs(err, path, "chunks:", info->n_chunks, o->max_chunks);
    st = check_score(o, info->score, err);
    if (st || !p->source.model) return st;
    if (strcmp(p->source.identity.hash, info->parent.hash) == 0) return TAMIS_OK;
    return tamis_fail(err, TAMIS_BAD_INPUT,
                      "%s: the base was made from another parent (%s, hash %s) than %s (hash %s)",
                      path, info->parent.name, info->parent.hash, o->parent_path,
                      p->source.identity.hash);
}

/* The file names neither model nor text: the model is that of -m if there is one, else it goes by
 * the file's name, and the text is what the file's ids are. */
static tamis_status prepare_llama_base(tamis_kld_parent *p, const tamis_kld_options *o,
                                       tamis_kld_result *r, tamis_error *err) {
    const char *path = o->base_path;
    tamis_status st = tamis_llama_base_open(path, &p->llama, err);
    if (st) return st;
    const tamis_llama_base *base = p->llama;
    const int64_t n_ctx = tamis_llama_base_n_ctx(base), n_all = tamis_llama_base_n_chunks(base);
    const int64_t n_vocab = tamis_llama_base_n_vocab(base);
    if (o->n_ctx && o->n_ctx != n_ctx) return differs(err, path, "a context of", n_ctx, o->n_ctx);
    if (o->max_chunks > n_all) return differs(err, path, "chunks:", n_all, o->max_chunks);
    st = check_score(o, TAMIS_KLD_SCORE_LLAMA, err);
    if (st) return st;
    tamis_kld_file_name(path, r->llama_base);
    r->llama_base_range = tamis_llama_base_range(base);
    if (p->source.model) {
        r->parent = p->source.identity;
    } else {
        r->parent = (tamis_kld_identity){.n_vocab = n_vocab};
        memcpy(r->parent.name, r->llama_base, sizeof r->parent.name);
    }
    if (r->parent.n_vocab != n_vocab)
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "%s: the base has a vocabulary of %lld, the model %s has %lld", path,
                          (long long)n_vocab, r->parent.name, (long long)r->parent.n_vocab);
    r->text.n_tokens = n_all * n_ctx;
    char hex[TAMIS_HASH_HEX_MAX];
    st = tamis_hash_bytes(TAMIS_HASH_XXH3_128, tamis_llama_base_ids(base),
                          (size_t)r->text.n_tokens * sizeof(int32_t), hex, err);
    if (st) return st;
    memcpy(r->text.hash, hex, 32);
    const int64_t n_chunks = o->max_chunks ? o->max_chunks : n_all;
    return tamis_kld_plan_init(&p->plan, tamis_llama_base_ids(base), n_ctx, n_chunks,
                               TAMIS_KLD_SCORE_LLAMA, err);
}

tamis_status tamis_kld_parent_open(const tamis_kld_options *o, const tamis_kld_machine *machine,
                                   tamis_kld_parent *p, tamis_kld_result *r, tamis_error *err) {
    *p = (tamis_kld_parent){0};
    tamis_status st = find_base(o, &p->kind, err);
    if (!st) st = check_options(o, p->kind, err);
    if (!st && o->parent_path)
        st = tamis_kld_source_open(o->parent_path, o->text_path != NULL, machine->log, &p->source,
                                   err);
    if (st) return st;
    switch (p->kind) {
    case TAMIS_KLD_PARENT_MODEL:
        st = prepare_model(p, o, r, err);
        break;
    case TAMIS_KLD_PARENT_BASE:
        st = prepare_base(p, o, machine, r, err);
        break;
    case TAMIS_KLD_PARENT_LLAMA_BASE:
        st = prepare_llama_base(p, o, r, err);
        break;
    }
    if (st) return st;
    r->n_ctx = p->plan.n_ctx;
    r->n_chunks = p->plan.n_chunks;
    r->n_rows = p->plan.n_rows;
    r->n_mtp = p->n_mtp;
    if (p->n_mtp) {
        tamis_kld_plan last;
        st = tamis_kld_plan_mtp(&p->plan, p->n_mtp - 1, &last, err);
        if (st) return st;
    }
    p->targets = tamis_kld_plan_targets(&p->plan, err);
    return p->targets ? TAMIS_OK : TAMIS_NO_RESOURCE;
}

void tamis_kld_parent_release(tamis_kld_parent *p) {
    if (!p) return;
    tamis_head_close(p->own_head);
    tamis_store_release(&p->own_hidden);
    for (int64_t k = 0; k < TAMIS_KLD_MTP_MAX; ++k) {
        tamis_store_release(&p->own_mtp_hidden[k]);
        tamis_head_close(p->own_mtp_heads[k]);
    }
    free(p->targets);
    free(p->llama_tokens);
    tamis_chunks_release(&p->chunks);
    tamis_llama_base_close(p->llama);
    tamis_kld_base_release(&p->base);
    tamis_kld_source_close(&p->source);
}

/* Compare the text given with what the base was made from: `ids` for a llama base, tokens as the
 * model saw them for one of ours. */
static tamis_status check_text(const tamis_kld_parent *p, const tamis_kld_options *o,
                               const tamis_kld_source *source, tamis_kld_result *r,
                               tamis_error *err) {
    tamis_kld_text text;
    tamis_chunks chunks;
    tamis_status st = tamis_kld_read_text(o, r->n_ctx, r->n_chunks, 0, source, &chunks, &text, err);
    if (st) return st;
    const bool is_llama = p->kind == TAMIS_KLD_PARENT_LLAMA_BASE;
    const size_t n_bytes = (size_t)(r->n_ctx * r->n_chunks) * sizeof *chunks.tokens;
    const int32_t *mine = is_llama ? tamis_llama_base_ids(p->llama) : p->base.tokens;
    const bool is_same = chunks.n_chunks == r->n_chunks &&
                         memcmp(is_llama ? chunks.ids : chunks.tokens, mine, n_bytes) == 0 &&
                         (is_llama || strcmp(text.hash, r->text.hash) == 0);
    if (!is_same)
        st = tamis_fail(err, TAMIS_BAD_INPUT,
                        "%s: the base was made from another text (%s%s%lld tokens, hash %s) than "
                        "%s (%lld tokens, hash %s)",
                        o->base_path, r->text.name, r->text.name[0] ? ", " : "",
                        (long long)r->text.n_tokens, r->text.hash, text.name,
                        (long long)text.n_tokens, text.hash);
    else
        r->text = text;
    tamis_chunks_release(&chunks);
    return st;
}

/* The BOS at the head of each chunk is not in the file (reference/files.md section B.2). */
static tamis_status put_bos(tamis_kld_parent *p, const tamis_kld_source *source, tamis_error *err) {
    const uint64_t n_tokens = (uint64_t)(p->plan.n_chunks * p->plan.n_ctx);
    p->llama_tokens = tamis_alloc_array(n_tokens, sizeof *p->llama_tokens, err);
    if (!p->llama_tokens) return TAMIS_NO_RESOURCE;
    memcpy(p->llama_tokens, p->plan.tokens, (size_t)n_tokens * sizeof *p->llama_tokens);
    const int32_t bos = tamis_tokenizer_bos(source->tokenizer);
    if (tamis_tokenizer_adds_bos(source->tokenizer) && bos >= 0) {
        for (int64_t i = 0; i < p->plan.n_chunks; ++i)
            p->llama_tokens[i * p->plan.n_ctx] = bos;
    }
    p->plan.tokens = p->llama_tokens;
    return TAMIS_OK;
}

tamis_status tamis_kld_parent_complete(tamis_kld_parent *p, const tamis_kld_options *o,
                                       const tamis_kld_source *first_quant, tamis_kld_result *r,
                                       tamis_error *err) {
    if (p->kind == TAMIS_KLD_PARENT_MODEL) return TAMIS_OK;
    const tamis_kld_source *source = p->source.model ? &p->source : first_quant;
    if (o->text_path || o->tokens_path) {
        tamis_status st = check_text(p, o, source, r, err);
        if (st) return st;
    }
    if (p->kind == TAMIS_KLD_PARENT_LLAMA_BASE && first_quant) return put_bos(p, first_quant, err);
    return TAMIS_OK;
}

static tamis_kld_base_info base_info(const tamis_kld_parent *p, const tamis_kld_result *r) {
    tamis_kld_base_info info = {
        .n_ctx = r->n_ctx,
        .n_chunks = r->n_chunks,
        .score = r->score,
        .parent = r->parent,
        .text = r->text,
        .n_mtp = p->n_mtp,
    };
    for (int64_t k = 0; k < p->n_mtp; ++k)
        info.mtp[k].has_head = p->mtp_has_head[k];
    return info;
}

/* A reader puts BOS at the head of each chunk where the vocabulary wants one; raw ids that have
 * another token there would be evaluated as something else. */
static tamis_status check_heads(const tamis_kld_parent *p, const tamis_kld_options *o,
                                tamis_error *err) {
    const tamis_tokenizer *t = p->source.tokenizer;
    if (!o->tokens_path || !t || !tamis_tokenizer_adds_bos(t)) return TAMIS_OK;
    for (int64_t i = 0; i < p->plan.n_chunks; ++i) {
        if (p->plan.tokens[i * p->plan.n_ctx] != tamis_tokenizer_bos(t))
            return tamis_fail(err, TAMIS_BAD_USAGE,
                              "%s: chunk %lld does not begin with BOS (%ld), which readers of "
                              "--save-all-logits put there; give a text with -f",
                              o->tokens_path, (long long)i, (long)tamis_tokenizer_bos(t));
    }
    return TAMIS_OK;
}

tamis_status tamis_kld_parent_check_outputs(const tamis_kld_parent *p, const tamis_kld_options *o,
                                            const tamis_kld_result *r, tamis_error *err) {
    uint64_t n_bytes = 0;
    tamis_status st = TAMIS_OK;
    if (o->base_path && p->kind == TAMIS_KLD_PARENT_MODEL) {
        const tamis_kld_base_info info = base_info(p, r);
        st =
            tamis_kld_base_max_bytes(o->base_path, &info, &p->plan, p->head, p->mtp, &n_bytes, err);
        if (!st) st = tamis_disk_check(o->base_path, n_bytes, err);
    }
    if (st || !o->save_logits_path) return st;
    if (r->score != TAMIS_KLD_SCORE_LLAMA)
        return tamis_fail(err, TAMIS_BAD_USAGE,
                          "--save-all-logits holds the positions of --score llama only");
    st = check_heads(p, o, err);
    if (st) return st;
    if (!tamis_llama_base_file_bytes(r->n_ctx, r->n_chunks, r->parent.n_vocab, &n_bytes))
        return tamis_fail(err, TAMIS_BAD_USAGE,
                          "%s: %lld chunks of %lld tokens are more than this layout can hold",
                          o->save_logits_path, (long long)r->n_chunks, (long long)r->n_ctx);
    return tamis_disk_check(o->save_logits_path, n_bytes, err);
}

static tamis_status write_base(const tamis_kld_parent *p, const tamis_kld_options *o,
                               const tamis_kld_machine *machine, const tamis_kld_result *r,
                               tamis_error *err) {
    const tamis_kld_base_info info = base_info(p, r);
    tamis_status st =
        tamis_kld_base_write(o->base_path, &info, &p->plan, p->hidden, p->head, p->mtp, err);
    if (!st) tamis_info(machine->log, "base file written: %s", o->base_path);
    return st;
}

static tamis_status write_llama_base(const tamis_kld_parent *p, const tamis_kld_options *o,
                                     const tamis_kld_machine *machine, double **nll,
                                     tamis_error *err) {
    const int32_t *ids = p->kind == TAMIS_KLD_PARENT_MODEL ? p->chunks.ids : p->plan.tokens;
    *nll = tamis_alloc_array((uint64_t)p->plan.n_rows, sizeof **nll, err);
    if (!*nll) return TAMIS_NO_RESOURCE;
    tamis_status st = tamis_llama_base_write(o->save_logits_path, &p->plan, ids, p->targets,
                                             p->hidden, p->head, machine, *nll, err);
    if (!st) tamis_info(machine->log, "base file written: %s", o->save_logits_path);
    return st;
}

tamis_status tamis_kld_parent_run(tamis_kld_parent *p, const tamis_kld_options *o,
                                  const tamis_kld_machine *machine, const tamis_kld_result *r,
                                  double **nll, tamis_error *err) {
    tamis_status st = TAMIS_OK;
    *nll = NULL;
    if (p->kind == TAMIS_KLD_PARENT_MODEL) {
        st = tamis_kld_evaluate_mtp(p->source.model, &p->plan, machine, &p->own_hidden, p->n_mtp,
                                    p->own_mtp_hidden, err);
        if (st) return st;
        p->hidden = p->own_hidden.data;
        for (int64_t k = 0; k < p->n_mtp; ++k)
            p->mtp[k].hidden = p->own_mtp_hidden[k].data;
        if (o->base_path) st = write_base(p, o, machine, r, err);
    }
    if (!st && o->save_logits_path) st = write_llama_base(p, o, machine, nll, err);
    return st;
}

tamis_status tamis_kld_parent_nll(tamis_kld_parent *p, const tamis_kld_machine *machine,
                                  double *nll, int32_t *top, tamis_error *err) {
    const int64_t n = p->plan.n_rows;
    tamis_status st = TAMIS_OK;
    if (p->kind == TAMIS_KLD_PARENT_LLAMA_BASE) {
        for (int64_t i = 0; i < n && !st; ++i) {
            st = tamis_interrupted()
                     ? tamis_fail_interrupted(err)
                     : tamis_llama_base_nll(p->llama, i, p->targets[i], &nll[i], err);
        }
        return st;
    }
    tamis_progress_begin(machine->progress, "perplexity",
                         (uint64_t)(n * tamis_head_n_vocab(p->head)), "logits");
    st = tamis_nll(p->head, machine->gemm, machine->pool, p->hidden, n, p->targets, nll, top,
                   machine->progress, err);
    tamis_progress_end(machine->progress);
    return st;
}

tamis_status tamis_kld_parent_logits(const tamis_kld_parent *p, const int64_t *row_list,
                                     int64_t n_rows, const tamis_kld_machine *machine,
                                     const char *name, tamis_kld_logits **out, tamis_error *err) {
    if (p->kind == TAMIS_KLD_PARENT_LLAMA_BASE)
        return tamis_kld_logits_of_base(p->llama, row_list, n_rows, machine, name, out, err);
    return tamis_kld_logits_of_head(p->head, p->hidden, row_list, n_rows, machine, name, out, err);
}
