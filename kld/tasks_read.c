/* tasks_read.c - the three kinds of task files. Every byte is checked: a file that is cut short or
 * says something impossible is refused with its line or offset, never half used. */
#include "kld/tasks.h"

#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/input_file.h"
#include "base/parse.h"
#include "kld/tasks_internal.h"

/* Far above any task set (HellaSwag has 10042 tasks in 10 MB). */
static const uint64_t MAX_FILE_BYTES = (uint64_t)256 << 20, MAX_TEXT_BYTES = (uint64_t)1 << 30;

enum { MAX_TASKS = 1 << 17, MAX_CHOICES = 100, HELLASWAG_LINES = 6, HELLASWAG_CHOICES = 4 };

/* A file being read. */
typedef struct reader {
    const char *path;
    const char *data;
    size_t n_bytes, at;
    int64_t line;        /* of the line taken last, from 1 */
    uint64_t text_bytes; /* of all choices so far */
    bool has_open_line;  /* WinoGrande: the last line was left out */
} reader;

typedef struct text {
    const char *data;
    size_t n_bytes;
} text;

static const char *const KIND_NAMES[TAMIS_TASK_N_KINDS] = {"HellaSwag", "WinoGrande",
                                                           "multiple choice"};

const char *tamis_task_kind_name(tamis_task_kind kind) {
    return KIND_NAMES[kind];
}

static void release_task(tamis_task *task) {
    for (int32_t i = 0; task->choices && i < task->n_choices; i++)
        free(task->choices[i].text);
    free(task->choices);
}

void tamis_tasks_release(tamis_tasks *tasks) {
    if (!tasks) return;
    for (int64_t i = 0; i < tasks->n_items; i++)
        release_task(&tasks->items[i]);
    free(tasks->items);
    *tasks = (tamis_tasks){0};
}

/* --- building --- */

static tamis_status begin_task(tamis_task *task, int32_t n_choices, int64_t number,
                               tamis_error *err) {
    *task = (tamis_task){.number = number};
    task->choices = tamis_alloc_array((uint64_t)n_choices, sizeof *task->choices, err);
    if (!task->choices) return TAMIS_NO_RESOURCE;
    task->n_choices = n_choices;
    return TAMIS_OK;
}

/* The text of a choice: a, then b, then c. */
static tamis_status join(tamis_task_choice *choice, text a, text b, text c, tamis_error *err) {
    choice->n_bytes = a.n_bytes + b.n_bytes + c.n_bytes; /* parts of a file below 1 GiB */
    choice->text = tamis_alloc_array(choice->n_bytes, 1, err);
    if (!choice->text) return TAMIS_NO_RESOURCE;
    memcpy(choice->text, a.data, a.n_bytes);
    memcpy(choice->text + a.n_bytes, b.data, b.n_bytes);
    memcpy(choice->text + a.n_bytes + b.n_bytes, c.data, c.n_bytes);
    return TAMIS_OK;
}

static tamis_status append(reader *r, tamis_tasks *tasks, uint64_t *capacity, tamis_task *task,
                           tamis_error *err) {
    for (int32_t i = 0; i < task->n_choices; i++)
        r->text_bytes += task->choices[i].n_bytes;
    if (tasks->n_items == MAX_TASKS || r->text_bytes > MAX_TEXT_BYTES)
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "%s: more than %d tasks or 1 GiB of text; give a part of it", r->path,
                          MAX_TASKS);
    tamis_status st =
        tamis_grow(&tasks->items, capacity, (uint64_t)tasks->n_items + 1, sizeof *task, err);
    if (st) return st;
    tasks->items[tasks->n_items++] = *task;
    *task = (tamis_task){0};
    return TAMIS_OK;
}

/* --- lines --- */

static bool next_line(reader *r, text *line) {
    if (r->at >= r->n_bytes) return false;
    const char *start = r->data + r->at;
    const char *end = memchr(start, '\n', r->n_bytes - r->at);
    line->data = start;
    line->n_bytes = end ? (size_t)(end - start) : r->n_bytes - r->at;
    r->at += line->n_bytes + 1;
    r->line++;
    return true;
}

/* A number of few digits, spaces around it allowed; false for anything else. */
static bool small_number(text t, int64_t lo, int64_t hi, int64_t *out) {
    char digits[8];
    while (t.n_bytes && (t.data[t.n_bytes - 1] == '\r' || t.data[t.n_bytes - 1] == ' '))
        t.n_bytes--;
    while (t.n_bytes && *t.data == ' ')
        t.data++, t.n_bytes--;
    if (!t.n_bytes || t.n_bytes >= sizeof digits || memchr(t.data, 0, t.n_bytes)) return false;
    memcpy(digits, t.data, t.n_bytes);
    digits[t.n_bytes] = 0;
    return tamis_parse_int(digits, lo, hi, "answer", out, NULL) == TAMIS_OK;
}

/* --- HellaSwag: context, index of the right ending, four endings; a line each --- */

static tamis_status read_hellaswag(reader *r, tamis_task *task, bool *is_end, tamis_error *err) {
    text line[HELLASWAG_LINES];
    int64_t right;
    for (int i = 0; i < HELLASWAG_LINES; i++) {
        if (next_line(r, &line[i])) continue;
        *is_end = i == 0;
        if (*is_end) return TAMIS_OK;
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "%s: the last task has %d of its %d lines (context, index of the right "
                          "ending, four endings)",
                          r->path, i, HELLASWAG_LINES);
    }
    if (!small_number(line[1], 0, HELLASWAG_CHOICES - 1, &right))
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "%s: line %lld should be the index of the right ending, 0 to 3", r->path,
                          (long long)(r->line - HELLASWAG_LINES + 2));
    tamis_status st = begin_task(task, HELLASWAG_CHOICES, (r->line - 1) / HELLASWAG_LINES + 1, err);
    for (int i = 0; !st && i < HELLASWAG_CHOICES; i++) {
        task->choices[i].is_right = i == right;
        st = join(&task->choices[i], line[0], (text){" ", 1}, line[2 + i], err);
    }
    return st;
}

/* --- WinoGrande: index,sentence,choice 1,choice 2,answer; a line each ---
 * A last line without an end is left out, and one newline at the end of the file does not count:
 * so llama-perplexity reads it, and the picks depend on the number of tasks. */

/* Positions of the first four commas outside quotes. */
static bool find_commas(text line, size_t commas[4]) {
    bool in_quotes = false;
    int n = 0;
    for (size_t i = 0; i < line.n_bytes && n < 4; i++) {
        if (line.data[i] == '"') in_quotes = !in_quotes;
        if (line.data[i] == ',' && !in_quotes) commas[n++] = i;
    }
    return n == 4;
}

static text between(text line, size_t from, size_t to) {
    return (text){line.data + from, to - from};
}

static tamis_status bad_line(const reader *r, const char *what, tamis_error *err) {
    return tamis_fail(err, TAMIS_BAD_INPUT,
                      "%s: line %lld %s; a line is index,sentence with _,choice 1,choice 2,answer "
                      "(1 or 2)",
                      r->path, (long long)r->line, what);
}

static tamis_status read_winogrande(reader *r, tamis_task *task, bool *is_end, tamis_error *err) {
    text line;
    size_t comma[4];
    int64_t right;
    do {
        *is_end = !next_line(r, &line);
        if (*is_end) return TAMIS_OK;
    } while (line.n_bytes == 0 || (line.n_bytes == 1 && *line.data == '\r'));
    if (r->at > r->n_bytes) { /* the file ends in this line */
        r->has_open_line = *is_end = true;
        return TAMIS_OK;
    }
    if (!find_commas(line, comma)) return bad_line(r, "has fewer than four commas", err);
    text sentence = between(line, comma[0] + 1, comma[1]);
    if (sentence.n_bytes > 1 && *sentence.data == '"')
        sentence = between(sentence, 1, sentence.n_bytes - 1);
    const char *gap = memchr(sentence.data, '_', sentence.n_bytes);
    if (!gap) return bad_line(r, "has no _ in its sentence", err);
    if (!small_number(between(line, comma[3] + 1, line.n_bytes), 1, 2, &right))
        return bad_line(r, "does not end in 1 or 2", err);
    const text before = {sentence.data, (size_t)(gap - sentence.data)};
    const text after = {gap + 1, sentence.n_bytes - before.n_bytes - 1};
    tamis_status st = begin_task(task, 2, r->line, err);
    for (int i = 0; !st && i < 2; i++) {
        const text word = between(line, comma[1 + i] + 1, comma[2 + i]);
        task->choices[i].is_right = i + 1 == right;
        task->choices[i].n_stem_bytes = before.n_bytes + word.n_bytes;
        st = join(&task->choices[i], before, word, after, err);
    }
    return st;
}

/* --- multiple choice: binary, little-endian ---
 * u32 n_tasks; u32 offset of each task from the start of the file; the tasks. A task is a question
 * and two sets of answers, of which the first is used. A string is u32 length and bytes; a set is
 * u32 n, n strings, n i32 labels (1 = right). */

static tamis_status take_u32(reader *r, uint32_t *out, tamis_error *err) {
    if (r->n_bytes - r->at < 4)
        return tamis_fail(err, TAMIS_BAD_INPUT, "%s: ends in the middle of a number at offset %zu",
                          r->path, r->at);
    const uint8_t *p = (const uint8_t *)r->data + r->at;
    *out = (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
    r->at += 4;
    return TAMIS_OK;
}

static tamis_status take_string(reader *r, text *out, tamis_error *err) {
    uint32_t n = 0;
    tamis_status st = take_u32(r, &n, err);
    if (st) return st;
    if (n == 0 || n > r->n_bytes - r->at)
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "%s: a string of %u bytes at offset %zu, %zu bytes are left", r->path, n,
                          r->at, r->n_bytes - r->at);
    *out = (text){r->data + r->at, n};
    r->at += n;
    return TAMIS_OK;
}

/* A set of answers to `question`; task NULL: only walked over. */
static tamis_status take_answers(reader *r, text question, int64_t number, tamis_task *task,
                                 tamis_error *err) {
    uint32_t n = 0, label = 0;
    const size_t start = r->at;
    tamis_status st = take_u32(r, &n, err);
    if (st) return st;
    if (n > MAX_CHOICES || (task && n == 0))
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "%s: task %lld has %u answers at offset %zu, 1 to %d are possible",
                          r->path, (long long)number, n, start, MAX_CHOICES);
    if (task) st = begin_task(task, (int32_t)n, number, err);
    for (uint32_t i = 0; !st && i < n; i++) {
        text answer = {0};
        st = take_string(r, &answer, err);
        if (!st && task) st = join(&task->choices[i], question, (text){" ", 1}, answer, err);
    }
    for (uint32_t i = 0; !st && i < n; i++) {
        st = take_u32(r, &label, err);
        if (!st && task) task->choices[i].is_right = label == 1;
    }
    return st;
}

static tamis_status take_task(reader *r, int64_t number, tamis_task *task, tamis_error *err) {
    text question = {0};
    tamis_status st = take_string(r, &question, err);
    if (!st) st = take_answers(r, question, number, task, err);
    return st ? st : take_answers(r, question, number, NULL, err);
}

static tamis_status read_binary(reader *r, tamis_tasks *tasks, tamis_error *err) {
    uint32_t n = 0, offset = 0;
    uint64_t capacity = 0;
    tamis_status st = take_u32(r, &n, err);
    if (st) return st;
    if (n == 0 || n > (r->n_bytes - 4) / 4)
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "%s: says it has %u tasks, which a file of %zu bytes cannot hold; give a "
                          "binary multiple-choice file",
                          r->path, n, r->n_bytes);
    for (uint32_t i = 0; !st && i < n; i++) {
        tamis_task task = {0};
        r->at = 4 + 4 * (size_t)i;
        st = take_u32(r, &offset, err);
        if (st) break;
        if (offset > r->n_bytes)
            st = tamis_fail(err, TAMIS_BAD_INPUT, "%s: task %u is said to be at offset %u of %zu",
                            r->path, i + 1, offset, r->n_bytes);
        r->at = offset;
        if (!st) st = take_task(r, (int64_t)i + 1, &task, err);
        if (!st) st = append(r, tasks, &capacity, &task, err);
        release_task(&task);
    }
    return st;
}

/* --- any file --- */

static tamis_status read_lines(reader *r, tamis_tasks *tasks, tamis_error *err) {
    uint64_t capacity = 0;
    for (;;) {
        tamis_task task = {0};
        bool is_end = false;
        tamis_status st = tasks->kind == TAMIS_TASK_HELLASWAG
                              ? read_hellaswag(r, &task, &is_end, err)
                              : read_winogrande(r, &task, &is_end, err);
        if (!st && !is_end) st = append(r, tasks, &capacity, &task, err);
        release_task(&task);
        if (st || is_end) return st;
    }
}

/* Keep the picked tasks, in the order picked. */
static tamis_status pick(tamis_tasks *tasks, int64_t max_tasks, tamis_error *err) {
    const int64_t n_all = tasks->n_items;
    const int64_t n = max_tasks > 0 && max_tasks < n_all ? max_tasks : n_all;
    int64_t *order = tamis_alloc_array((uint64_t)n, sizeof *order, err);
    tamis_task *items = tamis_alloc_array((uint64_t)n, sizeof *items, err);
    tamis_status st =
        order && items ? tasks_pick(tasks->kind, n_all, n, order, err) : TAMIS_NO_RESOURCE;
    if (st) {
        free(items);
        free(order);
        return st;
    }
    for (int64_t i = 0; i < n; i++) {
        items[i] = tasks->items[order[i]];
        tasks->items[order[i]] = (tamis_task){0};
    }
    free(order);
    tamis_tasks all = *tasks; /* what was not picked */
    *tasks = (tamis_tasks){.kind = all.kind, .items = items, .n_items = n, .n_in_file = n_all};
    tamis_tasks_release(&all);
    return TAMIS_OK;
}

tamis_status tamis_tasks_read(const char *path, tamis_task_kind kind, int64_t max_tasks,
                              tamis_tasks *out, tamis_error *err) {
    *out = (tamis_tasks){.kind = kind};
    char *data = NULL;
    reader r = {.path = path};
    tamis_status st = tamis_read_file(path, MAX_FILE_BYTES, &data, &r.n_bytes, err);
    if (st) return st;
    r.data = data;
    if (kind == TAMIS_TASK_WINOGRANDE && r.n_bytes && data[r.n_bytes - 1] == '\n') r.n_bytes--;
    st = kind == TAMIS_TASK_MULTIPLE_CHOICE ? read_binary(&r, out, err) : read_lines(&r, out, err);
    if (!st && out->n_items == 0) st = tamis_fail(err, TAMIS_BAD_INPUT, "%s: no task found", path);
    if (!st) st = pick(out, max_tasks, err);
    out->leaves_last_line = r.has_open_line;
    free(data);
    if (st) tamis_tasks_release(out);
    return st;
}
