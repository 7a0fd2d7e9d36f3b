/* test_model_mtp.c - multi-token prediction blocks against a plain f64 computation of them, made
 * here from the formulas: the one block of a fixture, and a chain of two made from it, the second
 * with an embedding and a head of its own. What observers are told, and that others hear nothing.
 */
#include "support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/head.h"
#include "model/model_internal.h"
#include "model/pass.h"

enum { N_CTX = 24, N_SEQUENCES = 4, N_TOKENS = N_CTX * N_SEQUENCES, MAX_BLOCKS = 2 };

static tamis_error err;
static int32_t tokens[N_TOKENS];
static char chain_path[4096];

/* --- the chain of two blocks --- */

typedef struct copied {
    char name[96];
    const tamis_gguf_tensor *from;
} copied;

/* The tensors of the fixture, and block 5 made from block 4: its norms change places, embedding and
 * head are those of the model the other way round, and it has no norm before its head. */
static int list_tensors(const tamis_gguf *g, copied *out) {
    int n = 0;
    for (int64_t i = 0; i < tamis_gguf_n_tensors(g); i++) {
        const tamis_gguf_tensor *t = tamis_gguf_tensor_at(g, i);
        snprintf(out[n].name, sizeof out[n].name, "%s", t->name);
        out[n++].from = t;
        if (strncmp(t->name, "blk.4.", 6) || strstr(t->name, "shared_head_norm")) continue;
        const char *rest = t->name + 6;
        if (!strcmp(rest, "nextn.enorm.weight"))
            rest = "nextn.hnorm.weight";
        else if (!strcmp(rest, "nextn.hnorm.weight"))
            rest = "nextn.enorm.weight";
        snprintf(out[n].name, sizeof out[n].name, "blk.5.%s", rest);
        out[n++].from = t;
    }
    snprintf(out[n].name, sizeof out[n].name, "blk.5.nextn.embed_tokens.weight");
    out[n++].from = tamis_gguf_find_tensor(g, "output.weight");
    snprintf(out[n].name, sizeof out[n].name, "blk.5.nextn.shared_head_head.weight");
    out[n++].from = tamis_gguf_find_tensor(g, "token_embd.weight");
    return n;
}

static void write_chain(void) {
    static copied list[256];
    tamis_gguf *g;
    tamis_gguf_writer *w;
    snprintf(chain_path, sizeof chain_path, "%s/chain.gguf", temp_dir());
    if (tamis_gguf_open(shared_path("fixtures/arch/qwen35-mtp.gguf"), NULL, &g, &err))
        fail_msg("%s", err.message);
    const int n = list_tensors(g, list);
    assert_int_equal(tamis_gguf_writer_new(&w, &err), TAMIS_OK);
    assert_int_equal(tamis_gguf_set_all(w, g, &err), TAMIS_OK);
    assert_int_equal(tamis_gguf_set_uint(w, "qwen35.block_count", TAMIS_GGUF_U32, 6, &err),
                     TAMIS_OK);
    assert_int_equal(tamis_gguf_set_uint(w, "qwen35.nextn_predict_layers", TAMIS_GGUF_U32, 2, &err),
                     TAMIS_OK);
    for (int i = 0; i < n; i++) {
        const tamis_gguf_tensor *t = list[i].from;
        if (tamis_gguf_add_tensor(w, list[i].name, t->type_id, t->n_dims, t->ne, &err))
            fail_msg("%s", err.message);
    }
    if (tamis_gguf_begin(w, chain_path, &err)) fail_msg("%s", err.message);
    for (int i = 0; i < n; i++) {
        char *bytes = malloc(list[i].from->n_bytes);
        assert_int_equal(
            tamis_gguf_read_tensor(g, list[i].from, 0, list[i].from->n_bytes, bytes, &err),
            TAMIS_OK);
        assert_int_equal(tamis_gguf_write_data(w, bytes, list[i].from->n_bytes, &err), TAMIS_OK);
        free(bytes);
    }
    if (tamis_gguf_commit(w, &err)) fail_msg("%s", err.message);
    tamis_gguf_writer_free(w);
    tamis_gguf_close(g);
}

/* --- a run and what is seen of it --- */

typedef struct record {
    const tamis_model *m;
    float *final;             /* [N_TOKENS][n_embd] */
    float *block[MAX_BLOCKS]; /* [N_TOKENS][n_embd], rows of shorter sequences first */
    int64_t n_rows[MAX_BLOCKS];
    double eh_proj_sum[MAX_BLOCKS];     /* of squares of its inputs */
    int64_t n_products, n_mtp_products; /* told of */
    int64_t last_token;
} record;

static tamis_status on_product(void *ctx, const tamis_product *p, tamis_error *e) {
    (void)e;
    record *r = ctx;
    const int64_t n_layers = tamis_model_n_layers(r->m);
    r->n_products++;
    if (p->layer < n_layers) return TAMIS_OK;
    r->n_mtp_products++;
    const int64_t depth = p->layer - n_layers;
    assert_non_null(p->tokens);
    for (int64_t i = 0; i < p->n_tokens; i++) {
        assert_true(i == 0 || p->tokens[i] > p->tokens[i - 1]);
        assert_true(p->tokens[i] % N_CTX < N_CTX - 1 - depth && p->tokens[i] < N_TOKENS);
    }
    if (!strstr(p->names[0], "nextn.eh_proj")) return TAMIS_OK;
    for (int64_t i = 0; i < p->n_tokens * p->d_in; i++)
        r->eh_proj_sum[depth] += (double)p->x[i] * (double)p->x[i];
    return TAMIS_OK;
}

static tamis_status on_final(void *ctx, int64_t first, int64_t n, const float *h, tamis_error *e) {
    (void)e;
    record *r = ctx;
    const int64_t d = tamis_model_n_embd(r->m);
    memcpy(r->final + first * d, h, (size_t)(n * d) * sizeof *h);
    return TAMIS_OK;
}

static tamis_status on_mtp_final(void *ctx, int64_t i_block, int64_t first, int64_t n,
                                 const float *h, tamis_error *e) {
    (void)e;
    record *r = ctx;
    const int64_t d = tamis_model_n_embd(r->m);
    assert_int_equal(first, r->n_rows[i_block]);
    memcpy(r->block[i_block] + first * d, h, (size_t)(n * d) * sizeof *h);
    r->n_rows[i_block] += n;
    return TAMIS_OK;
}

static record new_record(const tamis_model *m) {
    record r = {.m = m};
    const size_t n = (size_t)(N_TOKENS * tamis_model_n_embd(m));
    r.final = calloc(n, sizeof(float));
    for (int k = 0; k < MAX_BLOCKS; k++)
        r.block[k] = calloc(n, sizeof(float));
    return r;
}

static void release(record *r) {
    free(r->final);
    for (int k = 0; k < MAX_BLOCKS; k++)
        free(r->block[k]);
}

static tamis_model *open_model(const char *path) {
    tamis_model *m;
    if (tamis_model_open(path, NULL, &m, &err)) fail_msg("%s", err.message);
    return m;
}

static record run(tamis_model *m, int n_threads, bool wants_mtp) {
    record r = new_record(m);
    tamis_pool *pool;
    assert_int_equal(tamis_pool_new(n_threads, &pool, &err), TAMIS_OK);
    const tamis_observer observer = {.ctx = &r,
                                     .on_product = on_product,
                                     .on_final = on_final,
                                     .wants_mtp = wants_mtp,
                                     .on_mtp_final = on_mtp_final};
    const tamis_pass_options options = {.pool = pool};
    if (tamis_pass_run(m, tokens, N_TOKENS, N_CTX, &options, &observer, 1, &err))
        fail_msg("%s", err.message);
    tamis_pool_free(pool);
    return r;
}

/* --- the same, plainly --- */

/* A tensor as f64, or NULL; ne0 is its row. */
static double *load(const tamis_model *m, int64_t layer, const char *stem) {
    char name[96];
    if (layer >= 0)
        snprintf(name, sizeof name, "blk.%lld.%s.weight", (long long)layer, stem);
    else
        snprintf(name, sizeof name, "%s.weight", stem);
    const tamis_gguf_tensor *t = tamis_gguf_find_tensor(m->gguf, name);
    if (!t) return NULL;
    const int64_t n = (int64_t)tamis_tensor_n_elems(t);
    char *bytes = malloc(t->n_bytes);
    float *f = malloc((size_t)n * sizeof *f);
    double *out = malloc((size_t)n * sizeof *out);
    assert_int_equal(tamis_gguf_read_tensor(m->gguf, t, 0, t->n_bytes, bytes, &err), TAMIS_OK);
    tamis_decode(t->type, (const uint8_t *)bytes, f, n);
    for (int64_t i = 0; i < n; i++)
        out[i] = (double)f[i];
    free(bytes);
    free(f);
    return out;
}

static void norm(const double *x, const double *w, int64_t n, double eps, double *y) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += x[i] * x[i];
    const double scale = 1 / sqrt(sum / (double)n + eps);
    for (int64_t i = 0; i < n; i++)
        y[i] = x[i] * scale * w[i];
}

static void product(const double *w, const double *x, int64_t n_in, int64_t n_out, double *y) {
    for (int64_t o = 0; o < n_out; o++) {
        y[o] = 0;
        for (int64_t i = 0; i < n_in; i++)
            y[o] += w[o * n_in + i] * x[i];
    }
}

static double sigmoid(double x) {
    return 1 / (1 + exp(-x));
}

enum { D = 64, HD = 32, H = 4, HK = 2, N_ROT = 16, F = 128 };
static const double EPS = 1e-6, BASE = 1e7;

/* A head with its norm and rotation; half-split pairs within the first N_ROT elements. */
static void turn(double *head, const double *w, int64_t position) {
    norm(head, w, HD, EPS, head);
    for (int i = 0; i < N_ROT / 2; i++) {
        const double angle = (double)position * pow(BASE, -2.0 * i / N_ROT);
        const double a = head[i], b = head[i + N_ROT / 2];
        head[i] = a * cos(angle) - b * sin(angle);
        head[i + N_ROT / 2] = a * sin(angle) + b * cos(angle);
    }
}

typedef struct block {
    double *attn_norm, *q, *k, *v, *q_norm, *k_norm, *o, *ffn_norm, *gate, *up, *down;
    double *eh_proj, *enorm, *hnorm, *embedding, *head_norm;
} block;

static block load_block(const tamis_model *m, int64_t layer) {
    block b = {
        load(m, layer, "attn_norm"),
        load(m, layer, "attn_q"),
        load(m, layer, "attn_k"),
        load(m, layer, "attn_v"),
        load(m, layer, "attn_q_norm"),
        load(m, layer, "attn_k_norm"),
        load(m, layer, "attn_output"),
        load(m, layer, "post_attention_norm"),
        load(m, layer, "ffn_gate"),
        load(m, layer, "ffn_up"),
        load(m, layer, "ffn_down"),
        load(m, layer, "nextn.eh_proj"),
        load(m, layer, "nextn.enorm"),
        load(m, layer, "nextn.hnorm"),
        load(m, layer, "nextn.embed_tokens"),
        load(m, layer, "nextn.shared_head_norm"),
    };
    if (!b.embedding) b.embedding = load(m, -1, "token_embd");
    if (!b.head_norm) b.head_norm = load(m, -1, "output_norm");
    return b;
}

static void free_block(block *b) {
    double **all = (double **)b;
    for (size_t i = 0; i < sizeof *b / sizeof *all; i++)
        free(all[i]);
}

/* One attention block with its feed-forward part over a sequence x [n][D], in place. */
static void run_block(const block *b, double (*x)[D], int n) {
    static double keys[N_CTX][HK][HD], values[N_CTX][HK * HD];
    for (int t = 0; t < n; t++) {
        double h[D], q[H * 2 * HD], o[H * HD], out[D], up[F], gate[F];
        norm(x[t], b->attn_norm, D, EPS, h);
        product(b->q, h, D, H * 2 * HD, q);
        product(b->k, h, D, HK * HD, keys[t][0]);
        product(b->v, h, D, HK * HD, values[t]);
        for (int k = 0; k < HK; k++)
            turn(keys[t][k], b->k_norm, t);
        for (int head = 0; head < H; head++) {
            double *query = q + head * 2 * HD, *gates = query + HD, p[N_CTX], sum = 0;
            const int kv = head / (H / HK);
            turn(query, b->q_norm, t);
            for (int s = 0; s <= t; s++) {
                p[s] = 0;
                for (int i = 0; i < HD; i++)
                    p[s] += query[i] * keys[s][kv][i];
                p[s] = exp(p[s] / sqrt(HD));
                sum += p[s];
            }
            for (int i = 0; i < HD; i++) {
                double value = 0;
                for (int s = 0; s <= t; s++)
                    value += p[s] / sum * values[s][kv * HD + i];
                o[head * HD + i] = value * sigmoid(gates[i]);
            }
        }
        product(b->o, o, H * HD, D, out);
        for (int i = 0; i < D; i++)
            x[t][i] += out[i];
        norm(x[t], b->ffn_norm, D, EPS, h);
        product(b->gate, h, D, F, gate);
        product(b->up, h, D, F, up);
        for (int i = 0; i < F; i++)
            up[i] *= gate[i] * sigmoid(gate[i]);
        product(b->down, up, F, D, out);
        for (int i = 0; i < D; i++)
            x[t][i] += out[i];
    }
}

/* Block `depth` of one sequence: before [n_ctx - depth][D] are the states that it gets; its own go
 * to after. Returns the sum of squares of the inputs of eh_proj. */
static double expect_block(const block *b, const int32_t *ids, int depth, double (*before)[D],
                           double (*after)[D]) {
    const int n = N_CTX - 1 - depth;
    double sum = 0;
    for (int t = 0; t < n; t++) {
        double both[2 * D];
        norm(b->embedding + (int64_t)ids[t + 1 + depth] * D, b->enorm, D, EPS, both);
        norm(before[t], b->hnorm, D, EPS, both + D);
        product(b->eh_proj, both, 2 * D, D, after[t]);
        for (int i = 0; i < 2 * D; i++)
            sum += both[i] * both[i];
    }
    run_block(b, after, n);
    for (int t = 0; t < n; t++)
        norm(after[t], b->head_norm, D, EPS, after[t]);
    return sum;
}

static void check_blocks(const char *path, int n_blocks) {
    static double before[N_CTX][D], after[N_CTX][D];
    tamis_model *m = open_model(path);
    assert_int_equal(tamis_model_n_mtp(m), n_blocks);
    assert_int_equal(tamis_model_n_layers(m), 4);
    record r = run(m, 2, true);
    double sums[MAX_BLOCKS] = {0}, worst = 0, largest = 0;
    block blocks[MAX_BLOCKS];
    for (int k = 0; k < n_blocks; k++)
        blocks[k] = load_block(m, 4 + k);
    for (int s = 0; s < N_SEQUENCES; s++) {
        for (int i = 0; i < N_CTX * D; i++)
            before[i / D][i % D] = (double)r.final[s * N_CTX * D + i];
        for (int k = 0; k < n_blocks; k++) {
            const int n = N_CTX - 1 - k;
            sums[k] += expect_block(&blocks[k], tokens + s * N_CTX, k, before, after);
            for (int i = 0; i < n * D; i++) {
                const double x = after[i / D][i % D];
                worst = fmax(worst, fabs((double)r.block[k][s * n * D + i] - x));
                largest = fmax(largest, fabs(x));
            }
            memcpy(before, after, sizeof before);
        }
    }
    if (getenv("TAMIS_SHOW")) print_message("%d blocks: %.2e\n", n_blocks, worst / largest);
    if (!(worst <= 1e-5 * largest))
        fail_msg("%d blocks: off by %g of %g", n_blocks, worst, largest);
    for (int k = 0; k < n_blocks; k++) {
        assert_int_equal(r.n_rows[k], N_SEQUENCES * (N_CTX - 1 - k));
        assert_true(fabs(r.eh_proj_sum[k] / sums[k] - 1) < 1e-5);
        free_block(&blocks[k]);
    }
    release(&r);
    tamis_model_close(m);
}

static void a_block_is_what_the_formulas_say(void **state) {
    (void)state;
    check_blocks(shared_path("fixtures/arch/qwen35-mtp.gguf"), 1);
}

static void so_is_a_chain_of_two(void **state) {
    (void)state;
    check_blocks(chain_path, 2);
}

static void the_rest_hears_nothing_of_it(void **state) {
    (void)state;
    tamis_model *m = open_model(chain_path);
    record with = run(m, 1, true), without = run(m, 1, false), two = run(m, 2, true);
    const size_t n_bytes = (size_t)(N_TOKENS * D) * sizeof(float);
    assert_memory_equal(with.final, without.final, n_bytes);
    assert_int_equal(without.n_mtp_products, 0);
    assert_int_equal(without.n_rows[0], 0);
    assert_true(with.n_mtp_products > 0);
    assert_int_equal(with.n_products - with.n_mtp_products, without.n_products);
    for (int k = 0; k < MAX_BLOCKS; k++)
        assert_memory_equal(with.block[k], two.block[k], n_bytes);

    /* In one pass: the one that asked is told, the other is not. */
    record one = new_record(m), other = new_record(m);
    const tamis_observer observers[] = {
        {.ctx = &other, .on_product = on_product, .on_mtp_final = on_mtp_final},
        {.ctx = &one, .on_product = on_product, .wants_mtp = true, .on_mtp_final = on_mtp_final},
    };
    const tamis_pass_options options = {0};
    assert_int_equal(tamis_pass_run(m, tokens, N_TOKENS, N_CTX, &options, observers, 2, &err),
                     TAMIS_OK);
    assert_int_equal(other.n_mtp_products, 0);
    assert_int_equal(other.n_rows[0], 0);
    assert_int_equal(one.n_products, with.n_products);
    assert_memory_equal(one.block[1], with.block[1], n_bytes);
    record *all[] = {&with, &without, &two, &one, &other};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        release(all[i]);
    tamis_model_close(m);
}

/* As one long sequence, which goes through in pieces, or many short ones, which do in tiles: what
 * the first positions give does not depend on it. */
static void pieces_and_tiles_join(void **state) {
    (void)state;
    enum { N = 1500, SHORT = 300 };
    static int32_t many[N];
    for (int i = 0; i < N; i++)
        many[i] = (i % SHORT * 53 + i / 7 % 3) % 320;
    tamis_model *m = open_model(chain_path);
    float *rows[2] = {calloc(N * D, sizeof(float)), calloc(N * D, sizeof(float))};
    const int64_t contexts[] = {N, SHORT};
    for (int c = 0; c < 2; c++) {
        record r = {.m = m, .block = {rows[c], rows[c]}};
        /* only the second block's rows are kept: they overwrite the first's */
        const tamis_observer observer = {
            .ctx = &r, .wants_mtp = true, .on_mtp_final = on_mtp_final};
        const tamis_pass_options options = {0};
        if (tamis_pass_run(m, many, N, contexts[c], &options, &observer, 1, &err))
            fail_msg("%s", err.message);
        assert_int_equal(r.n_rows[1], N - 2 * (N / contexts[c]));
    }
    double worst = 0, largest = 0;
    for (int i = 0; i < (SHORT - 2) * D; i++) {
        worst = fmax(worst, fabs((double)rows[0][i] - (double)rows[1][i]));
        largest = fmax(largest, fabs((double)rows[0][i]));
    }
    if (!(worst <= 1e-5 * largest)) fail_msg("off by %g of %g", worst, largest);
    free(rows[0]);
    free(rows[1]);
    tamis_model_close(m);
}

static void heads_of_blocks(void **state) {
    (void)state;
    tamis_model *m = open_model(chain_path);
    tamis_head *head;
    bool is_own;
    float row[D];
    double *first[] = {load(m, -1, "output"), load(m, -1, "token_embd")};
    for (int k = 0; k < 2; k++) {
        assert_int_equal(tamis_head_open_mtp(m, k, &head, &is_own, &err), TAMIS_OK);
        assert_int_equal(is_own, k == 1);
        assert_int_equal(tamis_head_decode(head, NULL, 7, 1, row, &err), TAMIS_OK);
        for (int i = 0; i < D; i++)
            assert_true((double)row[i] == first[k][7 * D + i]);
        tamis_head_close(head);
        free(first[k]);
    }
    tamis_model_close(m);
}

static void short_contexts_are_refused(void **state) {
    (void)state;
    tamis_model *m = open_model(chain_path);
    const tamis_observer observer = {.wants_mtp = true}, plain = {0};
    const tamis_pass_options options = {0};
    assert_int_equal(tamis_pass_run(m, tokens, N_TOKENS, 2, &options, &observer, 1, &err),
                     TAMIS_BAD_USAGE);
    assert_non_null(strstr(err.message, "use --ctx 3 or more"));
    assert_int_equal(tamis_pass_run(m, tokens, N_TOKENS, 3, &options, &observer, 1, &err),
                     TAMIS_OK);
    assert_int_equal(tamis_pass_run(m, tokens, N_TOKENS, 1, &options, &plain, 1, &err), TAMIS_OK);
    tamis_model_close(m);
}

int main(void) {
    require_shared();
    for (int i = 0; i < N_TOKENS; i++)
        tokens[i] = (i * 37 + i * i / 11) % 320;
    write_chain();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_block_is_what_the_formulas_say),
        cmocka_unit_test(so_is_a_chain_of_two),
        cmocka_unit_test(the_rest_hears_nothing_of_it),
        cmocka_unit_test(pieces_and_tiles_join),
        cmocka_unit_test(heads_of_blocks),
        cmocka_unit_test(short_contexts_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
