/* progress.c - one line on a terminal: label, bar, percent, rate, time left, note.
 * Redrawn at most ten times a second; the clock is read once per advance. */
#include "base/progress.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/parse.h"
#include "base/terminal.h"
#include "base/utf8.h"

enum { TEXT_BYTES = 128, BAR_MAX = 30, BAR_MIN = 6, LINE_BYTES = 512 };

static const double redraw_seconds = 0.1;

struct tamis_progress {
    FILE *stream;
    char label[TEXT_BYTES], unit[16], note[TEXT_BYTES];
    uint64_t total, n_done;
    double started, drawn; /* seconds of the monotonic clock */
    bool is_running;
};

double tamis_now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

tamis_progress *tamis_progress_new(FILE *stream, bool is_quiet) {
    if (is_quiet || !tamis_terminal_can_redraw(stream)) return NULL;
    tamis_progress *p = calloc(1, sizeof *p);
    if (p) p->stream = stream;
    return p; /* without memory there is no bar, and the work goes on */
}

void tamis_progress_free(tamis_progress *p) {
    tamis_progress_end(p);
    free(p);
}

/* Cut to what fits into n_columns, counting one column per character; returns the columns used. */
static int fit_columns(char *text, int n_columns) {
    size_t n = strlen(text), i = 0;
    uint32_t c = 0;
    int used = 0;
    while (i < n && used < n_columns) {
        size_t n_char = tamis_utf8_next(text + i, n - i, &c);
        i += n_char ? n_char : 1;
        used++;
    }
    text[i] = 0;
    return used;
}

/* "12.3 MB/s", "1234 tokens/s" or "12.3 M logits/s". */
static void format_rate(const tamis_progress *p, double seconds, char *out, size_t cap) {
    double rate = seconds > 0.05 ? (double)p->n_done / seconds : 0;
    char size[32];
    if (rate <= 0)
        out[0] = 0;
    else if (strcmp(p->unit, "B") == 0)
        snprintf(out, cap, "%s/s", tamis_format_size((uint64_t)rate, size, sizeof size));
    else if (rate >= 1e6)
        snprintf(out, cap, "%.1f M %s/s", rate * 1e-6, p->unit);
    else
        snprintf(out, cap, rate < 10 ? "%.2f %s/s" : "%.0f %s/s", rate, p->unit);
}

/* "0:12 left"; nothing before a rate is known. */
static void format_left(const tamis_progress *p, double seconds, char *out, size_t cap) {
    out[0] = 0;
    if (p->n_done == 0 || seconds < 0.5 || p->n_done >= p->total) return;
    double left = seconds * (double)(p->total - p->n_done) / (double)p->n_done;
    uint64_t s = left < 3.6e8 ? (uint64_t)(left + 0.5) : 360000000;
    if (s < 3600)
        snprintf(out, cap, "%" PRIu64 ":%02" PRIu64 " left", s / 60, s % 60);
    else
        snprintf(out, cap, "%" PRIu64 ":%02" PRIu64 ":%02" PRIu64 " left", s / 3600, s / 60 % 60,
                 s % 60);
}

static void draw(tamis_progress *p, double now) {
    int n_columns = tamis_terminal_columns(p->stream) - 1; /* the last column would wrap */
    double share = p->total ? (double)p->n_done / (double)p->total : 1;
    char rate[64], left[32], tail[LINE_BYTES], label[TEXT_BYTES], bar[BAR_MAX + 5] = "";
    format_rate(p, now - p->started, rate, sizeof rate);
    format_left(p, now - p->started, left, sizeof left);
    snprintf(tail, sizeof tail, "%3d%%%s%s%s%s%s%s", (int)(share * 100), *rate ? "  " : "", rate,
             *left ? "  " : "", left, p->note[0] ? "  " : "", p->note);
    memcpy(label, p->label, sizeof label);
    int n_label = fit_columns(label, n_columns > 5 ? n_columns - 5 : n_columns);
    int n_tail = fit_columns(tail, n_columns - n_label - 2);
    int n_bar = n_columns - n_label - n_tail - 6; /* "  [" "]  " and the gap */
    if (n_bar > BAR_MAX) n_bar = BAR_MAX;
    if (n_bar >= BAR_MIN) {
        int n_full = (int)(share * n_bar);
        bar[0] = '[';
        memset(bar + 1, '.', (size_t)n_bar);
        memset(bar + 1, '#', (size_t)n_full);
        memcpy(bar + 1 + n_bar, "]  ", 4);
    }
    fprintf(p->stream, "\r\033[K%s  %s%s", label, bar, tail);
    fflush(p->stream);
    p->drawn = now;
}

/* Text for one line: control characters would move the cursor. */
static void copy_line(char *out, size_t cap, const char *text) {
    if (text)
        tamis_escape(text, strlen(text), out, cap);
    else
        out[0] = 0;
}

void tamis_progress_begin(tamis_progress *p, const char *label, uint64_t total, const char *unit) {
    if (!p) return;
    tamis_progress_end(p);
    copy_line(p->label, sizeof p->label, label);
    copy_line(p->unit, sizeof p->unit, unit);
    p->note[0] = 0;
    p->total = total;
    p->n_done = 0;
    p->started = tamis_now_s();
    p->is_running = true;
    draw(p, p->started);
}

void tamis_progress_advance(tamis_progress *p, uint64_t n_more) {
    if (!p || !p->is_running) return;
    p->n_done = n_more > p->total - p->n_done ? p->total : p->n_done + n_more;
    double now = tamis_now_s();
    if (now - p->drawn >= redraw_seconds || p->n_done == p->total) draw(p, now);
}

void tamis_progress_note(tamis_progress *p, const char *text) {
    if (!p || !p->is_running) return;
    copy_line(p->note, sizeof p->note, text);
    double now = tamis_now_s();
    if (now - p->drawn >= redraw_seconds) draw(p, now);
}

void tamis_progress_end(tamis_progress *p) {
    if (!p || !p->is_running) return;
    p->is_running = false;
    fputs("\r\033[K", p->stream);
    fflush(p->stream);
}
