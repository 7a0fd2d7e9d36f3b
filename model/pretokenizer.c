/* pretokenizer.c - see pretokenizer.h. Runs the stages of a set depth first: every
 * match and every gap of one stage is handed at once to the next, and what leaves the
 * last is a word. Bound by the matcher: 40-70 MB/s on text for one-stage sets. */
#include "model/pretokenizer.h"

#include <stdlib.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "model/unicode.h"

/* Memory that matching may take before it gives up: repetitions that cannot be cut short want some
 * bytes per character. */
#define JIT_STACK_MAX_BYTES ((size_t)1 << 26)

typedef enum stage_kind { STAGE_PATTERN, STAGE_DIGIT_GROUPS, STAGE_NUMBER_GROUPS } stage_kind;

typedef struct stage {
    stage_kind kind;
    pcre2_code *code; /* of STAGE_NUMBER_GROUPS: a run of numbers; of STAGE_DIGIT_GROUPS: NULL */
    bool has_first;   /* first[] is known */
    bool first[256];  /* bytes a match may start with */
} stage;

struct tamis_pretokenizer {
    int n_stages;
    stage stages[TAMIS_PRE_MAX_STAGES];
};

struct tamis_pre_scratch {
    pcre2_match_data *match;
    pcre2_match_context *context;
    pcre2_jit_stack *stack;
};

static tamis_status stage_init(stage *st, const char *text, const char *set, tamis_error *err) {
    st->kind = text[0] == TAMIS_PRE_DIGIT_GROUPS[0]    ? STAGE_DIGIT_GROUPS
               : text[0] == TAMIS_PRE_NUMBER_GROUPS[0] ? STAGE_NUMBER_GROUPS
                                                       : STAGE_PATTERN;
    if (st->kind == STAGE_DIGIT_GROUPS) return TAMIS_OK;
    if (st->kind == STAGE_NUMBER_GROUPS) text = "\\p{N}+";

    int code = 0;
    PCRE2_SIZE offset = 0;
    st->code = pcre2_compile((PCRE2_SPTR)text, PCRE2_ZERO_TERMINATED,
                             PCRE2_UTF | PCRE2_UCP | PCRE2_DOLLAR_ENDONLY, &code, &offset, NULL);
    if (!st->code)
        return tamis_fail(err, TAMIS_NO_RESOURCE,
                          "cannot compile the pre-tokenizer set '%s' (libpcre2 error %d at %zu)",
                          set, code, (size_t)offset);
    pcre2_jit_compile(st->code, PCRE2_JIT_COMPLETE); /* slower but right without it */

    const uint8_t *bits = NULL;
    uint32_t first_kind = 0, first_unit = 0;
    pcre2_pattern_info(st->code, PCRE2_INFO_FIRSTCODETYPE, &first_kind);
    pcre2_pattern_info(st->code, PCRE2_INFO_FIRSTCODEUNIT, &first_unit);
    pcre2_pattern_info(st->code, PCRE2_INFO_FIRSTBITMAP, &bits);
    st->has_first = bits || first_kind == 1;
    for (int b = 0; b < 256; b++)
        st->first[b] = bits ? bits[b / 8] >> (b % 8) & 1 : (uint32_t)b == first_unit;
    return TAMIS_OK;
}

tamis_status tamis_pretokenizer_new(const tamis_pre_set *set, tamis_pretokenizer **out,
                                    tamis_error *err) {
    *out = NULL;
    tamis_status st = TAMIS_OK;
    tamis_pretokenizer *p = calloc(1, sizeof *p);
    if (!p) return tamis_fail(err, TAMIS_NO_RESOURCE, "out of memory for the pre-tokenizer");
    for (; !st && set->stages[p->n_stages]; p->n_stages++)
        st = stage_init(&p->stages[p->n_stages], set->stages[p->n_stages], set->name, err);
    if (st)
        tamis_pretokenizer_free(p);
    else
        *out = p;
    return st;
}

void tamis_pretokenizer_free(tamis_pretokenizer *p) {
    if (!p) return;
    for (int i = 0; i < TAMIS_PRE_MAX_STAGES; i++)
        pcre2_code_free(p->stages[i].code);
    free(p);
}

tamis_status tamis_pre_scratch_new(tamis_pre_scratch **out, tamis_error *err) {
    *out = NULL;
    tamis_pre_scratch *s = calloc(1, sizeof *s);
    if (!s) goto fail;
    s->match = pcre2_match_data_create(1, NULL);
    s->context = pcre2_match_context_create(NULL);
    s->stack = pcre2_jit_stack_create(1 << 15, JIT_STACK_MAX_BYTES, NULL);
    if (!s->match || !s->context) goto fail;
    if (s->stack) pcre2_jit_stack_assign(s->context, NULL, s->stack);
    pcre2_set_match_limit(s->context, UINT32_MAX);
    pcre2_set_depth_limit(s->context, UINT32_MAX);
    pcre2_set_heap_limit(s->context, UINT32_MAX);
    *out = s;
    return TAMIS_OK;
fail:
    tamis_pre_scratch_free(s);
    return tamis_fail(err, TAMIS_NO_RESOURCE, "out of memory for the pre-tokenizer");
}

void tamis_pre_scratch_free(tamis_pre_scratch *s) {
    if (!s) return;
    pcre2_match_data_free(s->match);
    pcre2_match_context_free(s->context);
    pcre2_jit_stack_free(s->stack);
    free(s);
}

/* One call of tamis_pretokenizer_split(). */
typedef struct splitter {
    const tamis_pretokenizer *p;
    tamis_pre_scratch *s;
    const uint8_t *text;
    tamis_word_fn *fn;
    void *ctx;
    tamis_error *err;
} splitter;

static tamis_status split_from(const splitter *sp, int i_stage, size_t start, size_t n_bytes);

/* First match of a stage in [from, n) of a fragment; *begin = n when there is none. */
static tamis_status find(const splitter *sp, const stage *st, const uint8_t *fragment, size_t n,
                         size_t from, size_t *begin, size_t *end) {
    *begin = *end = n;
    if (st->has_first) {
        /* Most fragments of later stages have nothing for them: cheaper to see than to match. */
        size_t i = from;
        while (i < n && !st->first[fragment[i]])
            i++;
        if (i == n) return TAMIS_OK;
    }
    int rc =
        pcre2_match(st->code, fragment, n, from, PCRE2_NO_UTF_CHECK, sp->s->match, sp->s->context);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT)
        rc = pcre2_match(st->code, fragment, n, from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT,
                         sp->s->match, sp->s->context);
    if (rc == PCRE2_ERROR_NOMATCH) return TAMIS_OK;
    if (rc < 0)
        return tamis_fail(sp->err, TAMIS_NO_RESOURCE,
                          "splitting %zu bytes of text into words failed (libpcre2 error %d)", n,
                          rc);
    const PCRE2_SIZE *ovector = pcre2_get_ovector_pointer(sp->s->match);
    *begin = ovector[0];
    *end = ovector[1];
    return TAMIS_OK;
}

/* A run of numbers is cut behind every group of three, counted from its end; what stands before
 * the run stays with its first group. */
static tamis_status split_groups(const splitter *sp, int i_next, size_t start, size_t begin,
                                 size_t end) {
    size_t n_chars = 0, piece = 0;
    for (size_t i = begin; i < end; i += tamis_utf8_char_bytes(sp->text[start + i], end - i))
        n_chars++;
    tamis_status st = TAMIS_OK;
    for (size_t i = begin; !st && i < end;) {
        i += tamis_utf8_char_bytes(sp->text[start + i], end - i);
        if (--n_chars % 3 != 0) continue;
        st = split_from(sp, i_next, start + piece, i - piece);
        piece = i;
    }
    return st ? st : split_from(sp, i_next, start + piece, end - piece);
}

static bool is_digit(uint8_t byte) {
    return byte >= '0' && byte <= '9';
}

/* Cut before every digit that a multiple of three digits, itself included, is left from. */
static tamis_status split_before_digits(const splitter *sp, int i_next, size_t start,
                                        size_t n_bytes) {
    const uint8_t *fragment = sp->text + start;
    tamis_status st = TAMIS_OK;
    size_t begin = 0;
    for (size_t i = 0, run_end; !st && i < n_bytes; i = run_end) {
        for (run_end = i; run_end < n_bytes && is_digit(fragment[run_end]);)
            run_end++;
        for (size_t cut = run_end - (run_end - i) / 3 * 3; !st && cut < run_end; cut += 3) {
            st = split_from(sp, i_next, start + begin, cut - begin);
            begin = cut;
        }
        if (run_end == i) run_end++;
    }
    return st ? st : split_from(sp, i_next, start + begin, n_bytes - begin);
}

static tamis_status split_from(const splitter *sp, int i_stage, size_t start, size_t n_bytes) {
    if (n_bytes == 0) return TAMIS_OK;
    if (i_stage == sp->p->n_stages) return sp->fn(sp->ctx, start, n_bytes, sp->err);
    const stage *here = &sp->p->stages[i_stage];
    if (here->kind == STAGE_DIGIT_GROUPS)
        return split_before_digits(sp, i_stage + 1, start, n_bytes);
    for (size_t at = 0, begin, end; at < n_bytes; at = end) {
        tamis_status st = find(sp, here, sp->text + start, n_bytes, at, &begin, &end);
        if (!st && here->kind == STAGE_NUMBER_GROUPS) {
            st = split_groups(sp, i_stage + 1, start + at, begin - at, end - at);
        } else if (!st) {
            st = split_from(sp, i_stage + 1, start + at, begin - at); /* the gap */
            if (!st) st = split_from(sp, i_stage + 1, start + begin, end - begin);
        }
        if (st) return st;
    }
    return TAMIS_OK;
}

tamis_status tamis_pretokenizer_split(const tamis_pretokenizer *p, tamis_pre_scratch *s,
                                      const uint8_t *text, size_t n_bytes, tamis_word_fn *fn,
                                      void *ctx, tamis_error *err) {
    splitter sp = {.p = p, .s = s, .text = text, .fn = fn, .ctx = ctx, .err = err};
    return split_from(&sp, 0, 0, n_bytes);
}
