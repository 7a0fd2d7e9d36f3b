/* report_parts.c - the per-chunk table and the worst positions, printed and as JSON; see
 * report_internal.h. The table is the peer's, character for character. */
#include "kld/report_internal.h"

#include "base/error.h"

enum { SHOWN_TOP = 3, ESCAPED_MAX = 400 };

void tamis_kld_print_running(const tamis_kld_running *running, int64_t n_chunks, FILE *stream) {
    fputs("chunk             PPL               ln(PPL(Q)/PPL(base))          KL Divergence      "
          "        Δp RMS            Same top p\n",
          stream);
    for (int64_t i = 0; i < n_chunks; ++i) {
        const tamis_kld_running *r = &running[i];
        fprintf(stream,
                "%4lld   %10.4f ± %9.4f    %10.5f ± %10.5f    %10.5f ± %10.5f    %6.3f ± %6.3f %% "
                "   %6.3f ± %6.3f %%\n",
                (long long)i + 1, r->ppl.value, r->ppl.error, r->ln_ratio.value, r->ln_ratio.error,
                r->kld.value, r->kld.error, r->dp_rms.value, r->dp_rms.error, r->same_top.value,
                r->same_top.error);
    }
    fputc('\n', stream);
}

void tamis_kld_json_running(cJSON *object, const tamis_kld_running *running, int64_t n_chunks) {
    cJSON *array = cJSON_AddArrayToObject(object, "chunks");
    for (int64_t i = 0; i < n_chunks; ++i) {
        const tamis_kld_running *r = &running[i];
        cJSON *chunk = cJSON_CreateObject();
        cJSON_AddItemToArray(array, chunk);
        tamis_json_add_int(chunk, "chunk", i + 1);
        tamis_kld_json_value(chunk, "ppl", r->ppl.value, r->ppl.error, NULL);
        tamis_kld_json_value(chunk, "ln_ppl_ratio", r->ln_ratio.value, r->ln_ratio.error, "nats");
        tamis_kld_json_value(chunk, "kld_mean", r->kld.value, r->kld.error, "nats");
        tamis_kld_json_value(chunk, "dp_rms", r->dp_rms.value, r->dp_rms.error, "%");
        tamis_kld_json_value(chunk, "same_top", r->same_top.value, r->same_top.error, "%");
    }
}

/* "text" (or, without a tokenizer, its id) and a probability. */
static void print_token(int32_t token, const tamis_kld_bytes *text, FILE *stream) {
    char escaped[ESCAPED_MAX];
    if (text->data)
        fprintf(stream, "\"%s\"", tamis_escape(text->data, text->n_bytes, escaped, sizeof escaped));
    else
        fprintf(stream, "token %ld", (long)token);
}

static void print_opinion(const char *who, const tamis_kld_opinion *o, FILE *stream) {
    fprintf(stream, "       %-7s", who);
    for (int k = 0; k < SHOWN_TOP && o->top[k].token >= 0; ++k) {
        fputs(k ? ", " : " ", stream);
        print_token(o->top[k].token, &o->top[k].text, stream);
        fprintf(stream, " %.3f %%", 100 * o->top[k].p);
    }
    fputc('\n', stream);
}

void tamis_kld_print_worst(const tamis_kld_worst *worst, FILE *stream) {
    char escaped[ESCAPED_MAX];
    fprintf(stream, "====== The %lld positions with the largest KL divergence ======\n",
            (long long)worst->n);
    for (int64_t i = 0; i < worst->n; ++i) {
        const tamis_kld_position *p = &worst->positions[i];
        fprintf(stream, "%4lld.  KLD %.6f at chunk %lld, token %lld\n", (long long)i + 1, p->kld,
                (long long)p->i_chunk + 1, (long long)p->i_token);
        if (p->context.data)
            fprintf(stream, "       after   \"%s\"\n",
                    tamis_escape(p->context.data, p->context.n_bytes, escaped, sizeof escaped));
        fputs("       text    ", stream);
        print_token(p->expected, &p->expected_text, stream);
        fprintf(stream, " parent %.3f %%, quant %.3f %%\n", 100 * p->p.p_expected,
                100 * p->q.p_expected);
        print_opinion("parent", &p->p, stream);
        print_opinion("quant", &p->q, stream);
    }
    fputc('\n', stream);
}

static void add_bytes(cJSON *object, const char *key, const tamis_kld_bytes *text) {
    if (text->data) tamis_json_add_bytes(object, key, text->data, text->n_bytes);
}

static void add_opinion(cJSON *object, const char *key, const tamis_kld_opinion *o) {
    cJSON *side = cJSON_AddObjectToObject(object, key);
    tamis_json_add_double(side, "p_expected", o->p_expected);
    cJSON *top = cJSON_AddArrayToObject(side, "top");
    for (int k = 0; k < TAMIS_KLD_N_TOP && o->top[k].token >= 0; ++k) {
        cJSON *item = cJSON_CreateObject();
        cJSON_AddItemToArray(top, item);
        tamis_json_add_int(item, "token", o->top[k].token);
        add_bytes(item, "text", &o->top[k].text);
        tamis_json_add_double(item, "p", o->top[k].p);
    }
}

void tamis_kld_json_worst(cJSON *object, const tamis_kld_worst *worst) {
    cJSON *array = cJSON_AddArrayToObject(object, "worst");
    for (int64_t i = 0; i < worst->n; ++i) {
        const tamis_kld_position *p = &worst->positions[i];
        cJSON *item = cJSON_CreateObject();
        cJSON_AddItemToArray(array, item);
        tamis_json_add_double(item, "kld", p->kld);
        tamis_json_add_int(item, "chunk", p->i_chunk + 1);
        tamis_json_add_int(item, "token", p->i_token);
        add_bytes(item, "context", &p->context);
        cJSON *expected = cJSON_AddObjectToObject(item, "expected");
        tamis_json_add_int(expected, "token", p->expected);
        add_bytes(expected, "text", &p->expected_text);
        add_opinion(item, "parent", &p->p);
        add_opinion(item, "quant", &p->q);
    }
}
