/* options.c - parsing a command line from the rows of a tamis_command.
 * Long names may carry aliases after commas; an underscore counts as a dash. */
#include "base/options.h"

#include <float.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/parse.h"

enum { NAME_MAX_BYTES = 64 };

void tamis_texts_release(tamis_texts *texts) {
    if (!texts) return;
    free(texts->items);
    *texts = (tamis_texts){0};
}

tamis_status tamis_texts_add(tamis_texts *texts, const char *text, tamis_error *err) {
    tamis_status st = tamis_grow(&texts->items, &texts->capacity, (uint64_t)texts->n_items + 1,
                                 sizeof *texts->items, err);
    if (st) return st;
    texts->items[texts->n_items++] = text;
    return TAMIS_OK;
}

/* True when name[0..n) is one of the names of a row, first or alias. */
static bool has_name(const tamis_option *row, const char *name, size_t n) {
    if (row->kind == TAMIS_OPTION_GROUP || !row->long_name || n == 0) return false;
    for (const char *s = row->long_name; *s;) {
        size_t n_this = strcspn(s, ","), i = 0;
        if (n_this == n) {
            while (i < n && (s[i] == name[i] || (s[i] == '-' && name[i] == '_')))
                i++;
            if (i == n) return true;
        }
        s += n_this;
        if (*s == ',') s++;
    }
    return false;
}

static const tamis_option *find_long(const tamis_command *command, const char *name, size_t n) {
    for (size_t i = 0; i < command->n_options; i++)
        if (has_name(&command->options[i], name, n)) return &command->options[i];
    return NULL;
}

static const tamis_option *find_short(const tamis_command *command, char name) {
    for (size_t i = 0; i < command->n_options; i++) {
        const tamis_option *row = &command->options[i];
        if (row->kind != TAMIS_OPTION_GROUP && name && row->short_name == name) return row;
    }
    return NULL;
}

/* The known long name nearest to name[0..n), copied into out; false when none is near. */
static bool nearest_long(const tamis_command *command, const char *name, size_t n,
                         char out[NAME_MAX_BYTES]) {
    char wanted[NAME_MAX_BYTES];
    const char **names = NULL;
    uint64_t capacity = 0, n_names = 0;
    char *copies = NULL; /* one slot of NAME_MAX_BYTES per name or alias */
    bool is_found = false;
    if (n == 0 || n >= sizeof wanted) return false;
    memcpy(wanted, name, n);
    wanted[n] = 0;
    for (size_t i = 0; i < n; i++)
        if (wanted[i] == '_') wanted[i] = '-';
    for (size_t i = 0; i < command->n_options; i++)
        for (const char *s = command->options[i].long_name; s && *s; s++)
            capacity += *s == ',' || !s[1];
    copies = tamis_alloc_array(capacity, NAME_MAX_BYTES, NULL);
    names = tamis_alloc_array(capacity, sizeof *names, NULL);
    if (!copies || !names) goto out;
    for (size_t i = 0; i < command->n_options; i++) {
        for (const char *s = command->options[i].long_name; s && *s && n_names < capacity;) {
            size_t n_this = strcspn(s, ",");
            char *slot = copies + n_names * NAME_MAX_BYTES;
            if (n_this > 0 && n_this < NAME_MAX_BYTES) {
                memcpy(slot, s, n_this);
                names[n_names++] = slot;
            }
            s += n_this + (s[n_this] == ',');
        }
    }
    const char *best = tamis_nearest(wanted, names, n_names);
    if (best) memcpy(out, best, strlen(best) + 1);
    is_found = best != NULL;
out:
    free(copies);
    free(names);
    return is_found;
}

static tamis_status fail_unknown(const tamis_command *command, const char *shown_as, size_t n_shown,
                                 const char *name, size_t n, tamis_error *err) {
    char near[NAME_MAX_BYTES], shown[NAME_MAX_BYTES * 2];
    tamis_escape(shown_as, n_shown, shown, sizeof shown);
    if (nearest_long(command, name, n, near))
        return tamis_fail(err, TAMIS_BAD_USAGE, "unknown option '%s'; did you mean '--%s'?", shown,
                          near);
    return tamis_fail(err, TAMIS_BAD_USAGE, "unknown option '%s'", shown);
}

/* "a|b|c" in a row: value must be one of the words. */
static tamis_status check_choice(const tamis_option *row, const char *value, const char *name,
                                 tamis_error *err) {
    char words[NAME_MAX_BYTES * 2];
    size_t n_value = strlen(value), n_words = 0;
    for (const char *s = row->arg_name; *s; s += *s == '|') {
        size_t n = strcspn(s, "|");
        if (n == n_value && memcmp(s, value, n) == 0) return TAMIS_OK;
        for (size_t i = 0; i < n && n_words + 3 < sizeof words; i++)
            words[n_words++] = s[i];
        s += n;
        if (*s && n_words + 3 < sizeof words) words[n_words++] = ',', words[n_words++] = ' ';
    }
    words[n_words] = 0;
    char shown[NAME_MAX_BYTES];
    tamis_escape(value, n_value, shown, sizeof shown);
    return tamis_fail(err, TAMIS_BAD_USAGE, "%s: '%s' is not one of: %s", name, shown, words);
}

/* Put `value` (NULL for a flag) where the row says. `name` is how the user wrote the option. */
static tamis_status store(const tamis_option *row, const char *value, const char *name,
                          tamis_error *err) {
    int64_t lo = row->lo, hi = row->hi;
    if (lo == 0 && hi == 0) lo = INT64_MIN, hi = INT64_MAX;
    switch (row->kind) {
    case TAMIS_OPTION_FLAG:
        *(bool *)row->target = true;
        return TAMIS_OK;
    case TAMIS_OPTION_INT:
        return tamis_parse_int(value, lo, hi, name, row->target, err);
    case TAMIS_OPTION_SIZE:
        return tamis_parse_size(value, name, row->target, err);
    case TAMIS_OPTION_DOUBLE:
        return tamis_parse_double(value, -DBL_MAX, DBL_MAX, name, row->target, err);
    case TAMIS_OPTION_TEXT:
        if (row->arg_name && strchr(row->arg_name, '|')) {
            tamis_status st = check_choice(row, value, name, err);
            if (st) return st;
        }
        *(const char **)row->target = value;
        return TAMIS_OK;
    case TAMIS_OPTION_TEXTS:
        return tamis_texts_add(row->target, value, err);
    case TAMIS_OPTION_GROUP:
        break;
    }
    return TAMIS_OK;
}

/* State of one pass over argv. */
struct line {
    const tamis_command *command;
    int argc, i; /* i: the argument in hand */
    char **argv;
};

/* True when an argument is certainly an option of this command, so that it cannot be the value
 * that was forgotten before it. */
static bool is_known_option(const tamis_command *command, const char *arg) {
    if (arg[0] != '-' || !arg[1]) return false;
    if (arg[1] != '-') return !arg[2] && find_short(command, arg[1]) != NULL;
    return find_long(command, arg + 2, strcspn(arg + 2, "=")) != NULL;
}

static tamis_status take_value(struct line *l, const tamis_option *row, const char *name,
                               const char **out, tamis_error *err) {
    if (l->i + 1 >= l->argc || is_known_option(l->command, l->argv[l->i + 1]))
        return tamis_fail(err, TAMIS_BAD_USAGE, "option '%s' needs a value: %s %s", name, name,
                          row->arg_name ? row->arg_name : "VALUE");
    *out = l->argv[++l->i];
    return TAMIS_OK;
}

static tamis_status parse_long(struct line *l, const char *arg, tamis_error *err) {
    const char *name = arg + 2, *value = NULL;
    size_t n = strcspn(name, "=");
    const tamis_option *row = find_long(l->command, name, n);
    if (!row) return fail_unknown(l->command, arg, n + 2, name, n, err);
    char shown[NAME_MAX_BYTES + 8];
    tamis_escape(arg, n + 2, shown, sizeof shown);
    if (name[n] == '=') value = name + n + 1;
    if (row->kind == TAMIS_OPTION_FLAG) {
        if (value) return tamis_fail(err, TAMIS_BAD_USAGE, "option '%s' takes no value", shown);
    } else if (!value) {
        tamis_status st = take_value(l, row, shown, &value, err);
        if (st) return st;
    }
    return store(row, value, shown, err);
}

/* "-t8", "-t 8", and flags run together: "-qh". */
static tamis_status parse_short(struct line *l, const char *arg, tamis_error *err) {
    for (const char *s = arg + 1; *s; s++) {
        char name[3] = {'-', *s, 0};
        const char *value = NULL;
        const tamis_option *row = find_short(l->command, *s);
        /* "-output": most likely a long option with one dash too few */
        if (!row) return fail_unknown(l->command, arg, strlen(arg), arg + 1, strlen(arg + 1), err);
        if (row->kind != TAMIS_OPTION_FLAG) {
            if (s[1]) return store(row, s + 1, name, err);
            tamis_status st = take_value(l, row, name, &value, err);
            if (st) return st;
            return store(row, value, name, err);
        }
        tamis_status st = store(row, NULL, name, err);
        if (st) return st;
    }
    return TAMIS_OK;
}

tamis_status tamis_options_parse(const tamis_command *command, int argc, char **argv,
                                 tamis_texts *positional, tamis_error *err) {
    struct line l = {.command = command, .argc = argc, .argv = argv};
    bool are_ended = false;
    for (l.i = 1; l.i < argc; l.i++) {
        const char *arg = argv[l.i];
        tamis_status st = TAMIS_OK;
        if (are_ended || arg[0] != '-' || !arg[1]) {
            st = tamis_texts_add(positional, arg, err);
            if (command->options_first) are_ended = true;
        } else if (strcmp(arg, "--") == 0) {
            are_ended = true;
        } else if (arg[1] == '-') {
            st = parse_long(&l, arg, err);
        } else {
            st = parse_short(&l, arg, err);
        }
        if (st) return st;
    }
    return TAMIS_OK;
}
