/* manifest.c - see manifest.h. Lines are cut in place and sorted by subject, so that a
 * manifest costs its size and 40 bytes a line, and finding a line a binary search. */
#include "gguf/manifest.h"

#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/input_file.h"

enum { MAX_BYTES = 32 << 20 };

static const char model_mark[] = "#model";

typedef struct entry {
    const char *subject, *algorithm;
    char *digest; /* lower case */
    tamis_digest_kind kind;
    bool is_met;
} entry;

struct tamis_manifest {
    char *text;
    entry *entries; /* by subject, then algorithm */
    uint64_t n_entries, capacity;
    char *path;
    char *file; /* as the chosen lines spell it */
};

static const char *const verdict_names[TAMIS_VERDICT_N] = {
    [TAMIS_VERDICT_OK] = "Ok",
    [TAMIS_VERDICT_MISMATCH] = "Mismatch",
    [TAMIS_VERDICT_NOT_FOUND] = "Not Found",
    [TAMIS_VERDICT_MISSING] = "Missing",
    [TAMIS_VERDICT_UNKNOWN] = "Unknown Algorithm",
};

const char *tamis_verdict_name(tamis_verdict verdict) {
    return verdict_names[verdict];
}

void tamis_manifest_free(tamis_manifest *m) {
    if (!m) return;
    free(m->text);
    free(m->entries);
    free(m->path);
    free(m->file);
    free(m);
}

/* The word at *p, ended by a NUL put over the blank behind it; *p moves past the blanks. */
static char *cut_word(char **p) {
    char *word = *p;
    *p += strcspn(*p, " \t");
    if (**p) *(*p)++ = 0;
    *p += strspn(*p, " \t");
    return word;
}

static bool is_word(const char *word, const char *allowed) {
    return *word && word[strspn(word, allowed)] == 0;
}

/* One line into an entry; false when it is not one. */
static bool parse_line(char *line, entry *out) {
    *out = (entry){.algorithm = cut_word(&line)};
    out->digest = cut_word(&line);
    out->subject = line;
    if (!is_word(out->algorithm, "abcdefghijklmnopqrstuvwxyz0123456789-_") || !*line) return false;
    for (char *p = out->digest; *p; p++)
        if (*p >= 'A' && *p <= 'F') *p = (char)(*p - 'A' + 'a');
    out->kind = tamis_digest_by_name(out->algorithm, strlen(out->algorithm));
    if (!is_word(out->digest, "0123456789abcdef-")) return false;
    return out->kind == TAMIS_DIGEST_N_KINDS ||
           strlen(out->digest) == tamis_digest_n_chars(out->kind);
}

static tamis_status parse(tamis_manifest *m, size_t n_bytes, tamis_error *err) {
    uint64_t i_line = 1, n_known = 0;
    if (memchr(m->text, 0, n_bytes))
        return tamis_fail(err, TAMIS_BAD_INPUT, "'%s' is no manifest: it holds a NUL byte",
                          m->path);
    for (char *p = m->text, *next; *p; p = next, i_line++) {
        next = p + strcspn(p, "\n");
        if (*next) *next++ = 0;
        size_t n = strlen(p);
        if (n && p[n - 1] == '\r') p[--n] = 0;
        if (!n || *p == '#') continue;
        tamis_status st =
            tamis_grow(&m->entries, &m->capacity, m->n_entries + 1, sizeof *m->entries, err);
        if (st) return st;
        entry *e = &m->entries[m->n_entries++];
        if (!parse_line(p, e))
            return tamis_fail(err, TAMIS_BAD_INPUT,
                              "'%s', line %llu is malformed: an algorithm, its digest and a name "
                              "are expected",
                              m->path, (unsigned long long)i_line);
        n_known += e->kind != TAMIS_DIGEST_N_KINDS;
    }
    if (n_known) return TAMIS_OK;
    return tamis_fail(err, TAMIS_BAD_INPUT,
                      "'%s' has no line of a known algorithm (xxh64, sha1, sha256, xxh3-128, uuid)",
                      m->path);
}

static int compare_entries(const void *a, const void *b) {
    const entry *x = a, *y = b;
    const int order = strcmp(x->subject, y->subject);
    return order ? order : strcmp(x->algorithm, y->algorithm);
}

/* The same digest twice says no more than once; two values for one thing say nothing. */
static tamis_status drop_repeated(tamis_manifest *m, tamis_error *err) {
    uint64_t n = 0;
    for (uint64_t i = 0; i < m->n_entries; i++) {
        entry *last = n ? &m->entries[n - 1] : NULL;
        if (!last || compare_entries(last, &m->entries[i]))
            m->entries[n++] = m->entries[i];
        else if (strcmp(last->digest, m->entries[i].digest))
            return tamis_fail(err, TAMIS_BAD_INPUT,
                              "'%s' has two different %s digests of '%s'; which one is meant is "
                              "not known",
                              m->path, last->algorithm, last->subject);
    }
    m->n_entries = n;
    return TAMIS_OK;
}

tamis_status tamis_manifest_read(const char *path, tamis_manifest **out, tamis_error *err) {
    size_t n_bytes = 0;
    tamis_status st = TAMIS_NO_RESOURCE;
    *out = NULL;
    tamis_manifest *m = tamis_alloc_array(1, sizeof *m, err);
    if (!m) return st;
    m->path = tamis_copy_text(path, strlen(path), err);
    if (!m->path) goto out;
    st = tamis_read_file(path, MAX_BYTES, &m->text, &n_bytes, err);
    if (!st) st = parse(m, n_bytes, err);
    if (st) goto out;
    qsort(m->entries, m->n_entries, sizeof *m->entries, compare_entries);
    st = drop_repeated(m, err);
    if (st) goto out;
    *out = m;
    m = NULL;
out:
    tamis_manifest_free(m);
    return st;
}

/* Is the subject about `file`: itself, a tensor of it, or its model digest? */
static bool is_about(const char *subject, const char *file) {
    const size_t n = strlen(file);
    if (strncmp(subject, file, n)) return false;
    return !subject[n] || subject[n] == ':' || !strcmp(subject + n, model_mark);
}

/* Bytes of the file's name in a subject. Names may hold colons, so what ends in ".gguf" before
 * one is preferred. */
static size_t file_bytes(const char *subject) {
    const size_t n = strlen(subject), n_mark = strlen(model_mark);
    if (n > n_mark && !strcmp(subject + n - n_mark, model_mark)) return n - n_mark;
    const char *found = NULL;
    for (const char *p = strstr(subject, ".gguf:"); p; p = strstr(p + 1, ".gguf:"))
        found = p + 5;
    if (!found && n >= 5 && !strcmp(subject + n - 5, ".gguf")) return n;
    if (!found) found = strrchr(subject, ':');
    return found ? (size_t)(found - subject) : n;
}

static const char *base_name(const char *path, size_t *n_bytes) {
    size_t at = *n_bytes;
    while (at && path[at - 1] != '/')
        at--;
    *n_bytes -= at;
    return path + at;
}

static bool is_same_base_name(const char *a, size_t n_a, const char *b) {
    size_t n_b = strlen(b);
    a = base_name(a, &n_a);
    b = base_name(b, &n_b);
    return n_a == n_b && !memcmp(a, b, n_a);
}

/* The one file that the entries name (those of `like`'s base name only, when given). */
static tamis_status find_file(tamis_manifest *m, const char *like, bool *is_ambiguous,
                              tamis_error *err) {
    const char *found = NULL;
    size_t n_found = 0;
    *is_ambiguous = false;
    for (uint64_t i = 0; i < m->n_entries; i++) {
        const char *subject = m->entries[i].subject;
        const size_t n = file_bytes(subject);
        if (like && !is_same_base_name(subject, n, like)) continue;
        if (found && (n != n_found || memcmp(found, subject, n))) {
            *is_ambiguous = true;
            return TAMIS_OK;
        }
        found = subject;
        n_found = n;
    }
    if (found) m->file = tamis_copy_text(found, n_found, err);
    return found && !m->file ? TAMIS_NO_RESOURCE : TAMIS_OK;
}

tamis_status tamis_manifest_select(tamis_manifest *m, const char *file, tamis_error *err) {
    const tamis_digest_line data = {.scope = TAMIS_DIGEST_OF_DATA};
    bool is_ambiguous = false;
    char *printable = NULL;
    free(m->file);
    m->file = NULL;
    for (uint64_t i = 0; i < m->n_entries; i++)
        m->entries[i].is_met = false;
    tamis_status st = tamis_digest_subject(file, &data, &printable, err);
    if (st) return st;
    for (uint64_t i = 0; !m->file && i < m->n_entries; i++)
        if (is_about(m->entries[i].subject, printable)) {
            m->file = printable;
            printable = NULL;
            return TAMIS_OK;
        }
    st = find_file(m, printable, &is_ambiguous, err);
    if (!st && is_ambiguous)
        st = tamis_fail(err, TAMIS_BAD_INPUT,
                        "'%s' names files like '%s' in several folders; give the path as it is "
                        "there",
                        m->path, file);
    if (!st && !m->file) st = find_file(m, NULL, &is_ambiguous, err);
    if (!st && !m->file)
        st = tamis_fail(err, TAMIS_CHECK_FAILED, "'%s' has no line about '%s'", m->path, file);
    free(printable);
    return st;
}

/* What a chosen entry is about; false when it is not chosen. */
static bool scope_of(const tamis_manifest *m, const entry *e, tamis_digest_scope *out) {
    if (!is_about(e->subject, m->file)) return false;
    const char *rest = e->subject + strlen(m->file);
    *out = !*rest         ? TAMIS_DIGEST_OF_DATA
           : *rest == '#' ? TAMIS_DIGEST_OF_MODEL
                          : TAMIS_DIGEST_OF_TENSOR;
    return true;
}

void tamis_manifest_wants(const tamis_manifest *m, const bool asked[TAMIS_DIGEST_N_KINDS],
                          tamis_digest_options *options) {
    options->no_tensors = true;
    for (int k = 0; k < TAMIS_DIGEST_N_KINDS; k++) {
        options->wants[k] = asked && asked[k];
        options->wants_model[k] = false;
    }
    for (uint64_t i = 0; i < m->n_entries; i++) {
        const entry *e = &m->entries[i];
        tamis_digest_scope scope;
        if (!scope_of(m, e, &scope) || e->kind == TAMIS_DIGEST_N_KINDS) continue;
        if (asked && !asked[e->kind]) continue;
        options->wants[e->kind] = true;
        if (scope == TAMIS_DIGEST_OF_TENSOR) options->no_tensors = false;
        if (scope == TAMIS_DIGEST_OF_MODEL) options->wants_model[e->kind] = true;
    }
}

tamis_status tamis_manifest_compare(tamis_manifest *m, const tamis_digest_line *line,
                                    tamis_verdict *out, tamis_error *err) {
    char *subject = NULL;
    tamis_status st = tamis_digest_subject(m->file, line, &subject, err);
    if (st) return st;
    const entry key = {.subject = subject, .algorithm = tamis_digest_name(line->kind)};
    entry *e = bsearch(&key, m->entries, m->n_entries, sizeof *m->entries, compare_entries);
    if (e) e->is_met = true;
    *out = !e                              ? TAMIS_VERDICT_NOT_FOUND
           : strcmp(e->digest, line->text) ? TAMIS_VERDICT_MISMATCH
                                           : TAMIS_VERDICT_OK;
    free(subject);
    return TAMIS_OK;
}

void tamis_manifest_rest(const tamis_manifest *m, const tamis_digest_options *computed,
                         void (*found)(void *ctx, tamis_verdict verdict, const char *algorithm,
                                       const char *digest, const char *subject),
                         void *ctx) {
    for (uint64_t i = 0; i < m->n_entries; i++) {
        const entry *e = &m->entries[i];
        const bool is_known = e->kind != TAMIS_DIGEST_N_KINDS;
        tamis_digest_scope scope;
        if (e->is_met || !scope_of(m, e, &scope)) continue;
        if (is_known && !computed->wants[e->kind]) continue;
        if (scope == TAMIS_DIGEST_OF_TENSOR && computed->no_tensors) continue;
        found(ctx, is_known ? TAMIS_VERDICT_MISSING : TAMIS_VERDICT_UNKNOWN, e->algorithm,
              e->digest, e->subject);
    }
}
