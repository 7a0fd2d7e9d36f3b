/* parse.c - numbers and sizes from text, and back to text for people.
 * strtod is used under the C locale whatever the process has set, so "1.5" means
 * the same everywhere. */
#include "base/parse.h"

#include <ctype.h>
#include <inttypes.h>
#include <locale.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static tamis_status fail_text(tamis_error *err, const char *text, const char *what,
                              const char *wanted) {
    char shown[128];
    return tamis_fail(err, TAMIS_BAD_USAGE, "%s: '%s' is not %s", what,
                      tamis_escape(text, strlen(text), shown, sizeof shown), wanted);
}

tamis_status tamis_parse_int(const char *text, int64_t lo, int64_t hi, const char *what,
                             int64_t *out, tamis_error *err) {
    const char *s = text;
    bool is_negative = *s == '-';
    if (*s == '-' || *s == '+') s++;
    if (!*s) return fail_text(err, text, what, "a whole number");
    int64_t r = 0;
    bool is_huge = false;
    for (; *s; s++) {
        if (*s < '0' || *s > '9') return fail_text(err, text, what, "a whole number");
        int64_t digit = *s - '0';
        if (__builtin_mul_overflow(r, (int64_t)10, &r) ||
            __builtin_sub_overflow(r, digit, &r)) /* negative side: it holds INT64_MIN too */
            is_huge = true;
    }
    if (!is_negative && !is_huge && __builtin_sub_overflow((int64_t)0, r, &r)) is_huge = true;
    if (is_huge || r < lo || r > hi) {
        char shown[64];
        tamis_escape(text, strlen(text), shown, sizeof shown);
        if (hi == INT64_MAX && !is_huge)
            return tamis_fail(err, TAMIS_BAD_USAGE, "%s: %s is too small; at least %" PRId64, what,
                              shown, lo);
        return tamis_fail(err, TAMIS_BAD_USAGE,
                          "%s: %s is out of range; %" PRId64 " to %" PRId64 " are allowed", what,
                          shown, lo, hi);
    }
    *out = r;
    return TAMIS_OK;
}

tamis_status tamis_parse_uint(const char *text, const char *what, uint64_t *out, tamis_error *err) {
    uint64_t r = 0;
    if (!*text) return fail_text(err, text, what, "a whole number of 0 or more");
    for (const char *s = text; *s; s++) {
        if (*s < '0' || *s > '9') return fail_text(err, text, what, "a whole number of 0 or more");
        if (__builtin_mul_overflow(r, (uint64_t)10, &r) ||
            __builtin_add_overflow(r, (uint64_t)(*s - '0'), &r))
            return fail_text(err, text, what, "a number below 2^64");
    }
    *out = r;
    return TAMIS_OK;
}

static locale_t c_locale(void) {
    static _Atomic(locale_t) made; /* created once, kept for the process */
    locale_t l = made;
    if (l) return l;
    l = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    locale_t none = (locale_t)0;
    if (l && !atomic_compare_exchange_strong(&made, &none, l)) {
        freelocale(l);
        l = none;
    }
    return l;
}

/* Decimal number at the start of text: digits, at most one point, an exponent. Returns its end,
 * or NULL when there is none (also for hex, inf and nan, which strtod would take). */
static const char *scan_number(const char *text, double *out) {
    const char *s = text;
    if (*s == '-' || *s == '+') s++;
    if (!isdigit((unsigned char)*s) && !(*s == '.' && isdigit((unsigned char)s[1]))) return NULL;
    if (s[0] == '0' && (s[1] == 'x' || s[1] == 'X')) return NULL;
    char *end = NULL;
    locale_t l = c_locale();
    *out = l ? strtod_l(text, &end, l) : strtod(text, &end);
    return end;
}

tamis_status tamis_parse_double(const char *text, double lo, double hi, const char *what,
                                double *out, tamis_error *err) {
    double r = 0;
    const char *end = scan_number(text, &r);
    if (!end || *end || !isfinite(r)) return fail_text(err, text, what, "a number");
    if (r < lo || r > hi)
        return tamis_fail(err, TAMIS_BAD_USAGE, "%s: %g is out of range; %g to %g are allowed",
                          what, r, lo, hi);
    *out = r;
    return TAMIS_OK;
}

static const struct suffix {
    const char *text;
    double factor;
} suffixes[] = {
    {"", 1},
    {"B", 1},
    {"K", 1e3},
    {"KB", 1e3},
    {"M", 1e6},
    {"MB", 1e6},
    {"G", 1e9},
    {"GB", 1e9},
    {"T", 1e12},
    {"TB", 1e12},
    {"KiB", 1024.0},
    {"MiB", 1048576.0},
    {"GiB", 1073741824.0},
    {"TiB", 1099511627776.0},
};

tamis_status tamis_parse_size(const char *text, const char *what, uint64_t *out_bytes,
                              tamis_error *err) {
    static const char wanted[] = "a size such as 500M, 12G or 1.5GiB";
    double r = 0;
    const char *end = *text == '-' ? NULL : scan_number(text, &r);
    if (!end) return fail_text(err, text, what, wanted);
    while (*end == ' ')
        end++;
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        if (strcasecmp(end, suffixes[i].text) != 0) continue;
        /* A plain count of bytes is exact; products above 2^53 are rounded to what a double
         * holds, which no budget notices. */
        int64_t exact = 0;
        if (suffixes[i].factor == 1 && !*end &&
            tamis_parse_int(text, 0, INT64_MAX, what, &exact, NULL) == TAMIS_OK) {
            *out_bytes = (uint64_t)exact;
            return TAMIS_OK;
        }
        r *= suffixes[i].factor;
        if (!(r < 9.2e18))
            return tamis_fail(err, TAMIS_BAD_USAGE, "%s: %s is more than any machine has", what,
                              text);
        *out_bytes = (uint64_t)(r + 0.5);
        return TAMIS_OK;
    }
    return fail_text(err, text, what, wanted);
}

char *tamis_format_size(uint64_t n_bytes, char *out, size_t cap) {
    static const char *const units[] = {"kB", "MB", "GB", "TB", "PB", "EB"};
    if (n_bytes < 1000) {
        snprintf(out, cap, "%" PRIu64 " B", n_bytes);
        return out;
    }
    double v = (double)n_bytes / 1000;
    size_t i = 0;
    /* 999.995 and above would print as 1000.00 */
    for (; v >= 999.995 && i + 1 < sizeof units / sizeof units[0]; i++)
        v /= 1000;
    snprintf(out, cap, "%.2f %s", v, units[i]);
    return out;
}

char *tamis_format_seconds(double seconds, char *out, size_t cap) {
    if (!(seconds >= 0)) seconds = 0;
    if (seconds > 3.6e9) seconds = 3.6e9;
    if (seconds < 59.95) {
        snprintf(out, cap, "%.1f s", seconds);
        return out;
    }
    uint64_t s = (uint64_t)(seconds + 0.5);
    if (s < 3600)
        snprintf(out, cap, "%" PRIu64 ":%02" PRIu64, s / 60, s % 60);
    else
        snprintf(out, cap, "%" PRIu64 ":%02" PRIu64 ":%02" PRIu64, s / 3600, s / 60 % 60, s % 60);
    return out;
}

char *tamis_format_double(double value, char *out, size_t cap) {
    locale_t l = c_locale(), old = l ? uselocale(l) : (locale_t)0;
    for (int n_digits = 15; n_digits <= 17; n_digits++) {
        snprintf(out, cap, "%.*g", n_digits, value);
        if (strtod(out, NULL) == value) break;
    }
    if (l) uselocale(old);
    return out;
}

enum { NEAREST_MAX = 64 }; /* longer names are not compared */

static size_t min_size(size_t a, size_t b) {
    return a < b ? a : b;
}

/* Edit distance with a swap of neighbours as one step (optimal string alignment). */
static size_t edit_distance(const char *a, size_t n_a, const char *b, size_t n_b) {
    size_t row[3][NEAREST_MAX + 1];
    for (size_t j = 0; j <= n_b; j++)
        row[0][j] = j;
    for (size_t i = 1; i <= n_a; i++) {
        size_t *now = row[i % 3], *up = row[(i + 2) % 3], *up2 = row[(i + 1) % 3];
        now[0] = i;
        int c_a = tolower((unsigned char)a[i - 1]);
        for (size_t j = 1; j <= n_b; j++) {
            int c_b = tolower((unsigned char)b[j - 1]);
            size_t d = min_size(now[j - 1], up[j]) + 1;
            d = min_size(d, up[j - 1] + (c_a != c_b));
            if (i > 1 && j > 1 && c_a == tolower((unsigned char)b[j - 2]) &&
                c_b == tolower((unsigned char)a[i - 2]))
                d = min_size(d, up2[j - 2] + 1);
            now[j] = d;
        }
    }
    return row[n_a % 3][n_b];
}

const char *tamis_nearest(const char *text, const char *const *names, size_t n_names) {
    size_t n_text = strlen(text);
    if (n_text == 0 || n_text > NEAREST_MAX) return NULL;
    const char *best = NULL;
    size_t least = (n_text < 3 ? 1 : n_text / 3) + 1;
    for (size_t i = 0; i < n_names; i++) {
        size_t n_name = strlen(names[i]);
        if (n_name > NEAREST_MAX) continue;
        size_t d = edit_distance(text, n_text, names[i], n_name);
        if (d >= least || d >= n_name) continue;
        least = d;
        best = names[i];
    }
    return best;
}
