/* json_check.c - strict JSON grammar (RFC 8259) without building anything.
 * cJSON is lenient (raw control characters, "01", bytes that are no UTF-8); two readers
 * of one file must not see different things, so what the grammar does not allow is
 * refused. Linear time; recursion stops at TAMIS_JSON_DEPTH_MAX. */
#include "base/json_internal.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/utf8.h"

struct scan {
    const char *first, *s, *end;
    const char *problem; /* set by the first failure, at s */
};

static bool problem(struct scan *c, const char *text) {
    c->problem = text;
    return false;
}

static void skip_space(struct scan *c) {
    while (c->s < c->end && (*c->s == ' ' || *c->s == '\t' || *c->s == '\n' || *c->s == '\r'))
        c->s++;
}

static bool is_next(const struct scan *c, char wanted) {
    return c->s < c->end && *c->s == wanted;
}

static bool is_hex(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* The four digits of \uXXXX at s; -1 when they are not there. */
static int32_t hex4(const struct scan *c) {
    int32_t r = 0;
    if (c->end - c->s < 4) return -1;
    for (int i = 0; i < 4; i++) {
        char d = c->s[i];
        if (!is_hex(d)) return -1;
        r = r * 16 + (d <= '9' ? d - '0' : (d | 0x20) - 'a' + 10);
    }
    return r;
}

/* Behind a backslash. */
static bool check_escape(struct scan *c) {
    if (c->s == c->end) return problem(c, "the text ends inside a string");
    char kind = *c->s;
    if (kind != 'u') {
        if (kind == 0 || !strchr("\"\\/bfnrt", kind)) return problem(c, "unknown escape");
        c->s++;
        return true;
    }
    c->s++;
    int32_t r = hex4(c);
    if (r < 0) return problem(c, "\\u needs four hex digits");
    if (r == 0) return problem(c, "\\u0000 in a string is not supported");
    c->s += 4;
    if (r >= 0xDC00 && r <= 0xDFFF) return problem(c, "half of a surrogate pair");
    if (r < 0xD800 || r > 0xDBFF) return true;
    if (!(c->end - c->s >= 6 && c->s[0] == '\\' && c->s[1] == 'u'))
        return problem(c, "half of a surrogate pair");
    c->s += 2;
    r = hex4(c);
    if (r < 0xDC00 || r > 0xDFFF) return problem(c, "half of a surrogate pair");
    c->s += 4;
    return true;
}

static bool check_string(struct scan *c) {
    c->s++; /* the opening quote */
    for (;;) {
        if (c->s == c->end) return problem(c, "the text ends inside a string");
        unsigned char b = (unsigned char)*c->s;
        if (b == '"') {
            c->s++;
            return true;
        }
        if (b < 0x20) return problem(c, "control character inside a string");
        if (b == '\\') {
            c->s++;
            if (!check_escape(c)) return false;
            continue;
        }
        uint32_t code = 0;
        size_t n = tamis_utf8_next(c->s, (size_t)(c->end - c->s), &code);
        if (n == 0) return problem(c, "bytes that are no UTF-8");
        c->s += n;
    }
}

static size_t skip_digits(struct scan *c) {
    const char *first = c->s;
    while (c->s < c->end && *c->s >= '0' && *c->s <= '9')
        c->s++;
    return (size_t)(c->s - first);
}

static bool check_number(struct scan *c) {
    enum { LENGTH_MAX = 60 }; /* cJSON reads no longer ones */
    const char *first = c->s;
    if (is_next(c, '-')) c->s++;
    bool is_zero = is_next(c, '0');
    size_t n = skip_digits(c);
    if (n == 0 || (is_zero && n > 1)) return problem(c, "malformed number");
    if (is_next(c, '.')) {
        c->s++;
        if (skip_digits(c) == 0) return problem(c, "malformed number");
    }
    if (is_next(c, 'e') || is_next(c, 'E')) {
        c->s++;
        if (is_next(c, '+') || is_next(c, '-')) c->s++;
        if (skip_digits(c) == 0) return problem(c, "malformed number");
    }
    if (c->s - first > LENGTH_MAX) return problem(c, "a number of more than 60 characters");
    return true;
}

static bool check_value(struct scan *c, int depth);

static bool check_members(struct scan *c, int depth, bool is_object) {
    char close = is_object ? '}' : ']';
    if (depth >= TAMIS_JSON_DEPTH_MAX) return problem(c, "nested deeper than 32");
    c->s++;
    skip_space(c);
    if (is_next(c, close)) {
        c->s++;
        return true;
    }
    for (;;) {
        if (is_object) {
            skip_space(c);
            if (!is_next(c, '"')) return problem(c, "a key in quotes is wanted");
            if (!check_string(c)) return false;
            skip_space(c);
            if (!is_next(c, ':')) return problem(c, "':' is wanted");
            c->s++;
        }
        if (!check_value(c, depth + 1)) return false;
        skip_space(c);
        if (is_next(c, close)) {
            c->s++;
            return true;
        }
        if (!is_next(c, ','))
            return problem(c, is_object ? "',' or '}' is wanted" : "',' or ']' is wanted");
        c->s++;
    }
}

static bool check_word(struct scan *c) {
    static const char *const words[] = {"true", "false", "null"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        size_t n = strlen(words[i]);
        if ((size_t)(c->end - c->s) < n || memcmp(c->s, words[i], n) != 0) continue;
        c->s += n;
        return true;
    }
    return problem(c, "no value is found");
}

static bool check_value(struct scan *c, int depth) {
    skip_space(c);
    if (c->s == c->end) return problem(c, "the text ends where a value is wanted");
    char b = *c->s;
    if (b == '{' || b == '[') return check_members(c, depth, b == '{');
    if (b == '"') return check_string(c);
    if (b == '-' || (b >= '0' && b <= '9')) return check_number(c);
    return check_word(c);
}

tamis_status tamis_json_check(const char *text, size_t n_bytes, const char *what,
                              tamis_error *err) {
    struct scan c = {.first = text, .s = text, .end = text + n_bytes};
    bool is_good = check_value(&c, 0);
    if (is_good) {
        skip_space(&c);
        if (c.s != c.end) is_good = problem(&c, "something follows the value");
    }
    if (is_good) return TAMIS_OK;
    return tamis_fail(err, TAMIS_BAD_INPUT, "'%s': not JSON at byte %zu: %s", what,
                      (size_t)(c.s - c.first), c.problem);
}
