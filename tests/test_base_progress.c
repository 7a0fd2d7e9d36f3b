/* test_base_progress.c - what a terminal gets to see, and that nothing else sees it. */
#include <pty.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/log.h"
#include "base/progress.h"
#include "support.h"

struct terminal {
    int master;
    FILE *stream;
    char seen[65536];
};

static int open_terminal(void **state) {
    static struct terminal t;
    int slave = -1;
    struct winsize size = {.ws_row = 24, .ws_col = 60};
    if (openpty(&t.master, &slave, NULL, NULL, &size) != 0) return -1;
    t.stream = fdopen(slave, "w");
    setenv("TERM", "xterm", 1);
    unsetenv("NO_COLOR");
    *state = &t;
    return 0;
}

static int close_terminal(void **state) {
    struct terminal *t = *state;
    if (t->stream) fclose(t->stream);
    close(t->master);
    return 0;
}

/* Everything written so far; what follows a mark of our own ends the reading. */
static const char *see(struct terminal *t) {
    size_t n = 0;
    fputs("\x04", t->stream);
    fflush(t->stream);
    for (;;) {
        ssize_t got = read(t->master, t->seen + n, sizeof t->seen - 1 - n);
        if (got <= 0) break;
        n += (size_t)got;
        t->seen[n] = 0;
        if (t->seen[n - 1] == '\x04') {
            t->seen[n - 1] = 0;
            break;
        }
    }
    return t->seen;
}

static void a_bar_fits_the_terminal(void **state) {
    struct terminal *t = *state;
    tamis_progress *p = tamis_progress_new(t->stream, false);
    assert_non_null(p);
    tamis_progress_begin(p, "layer 1\x1b", 200, "tokens");
    tamis_progress_advance(p, 100);
    tamis_progress_note(p, "a note that is a good deal longer than the line has room for");
    tamis_progress_advance(p, UINT64_MAX); /* never beyond the total */
    tamis_progress_end(p);
    tamis_progress_advance(p, 1); /* nothing any more */
    const char *text = see(t);
    assert_non_null(strstr(text, "layer 1\\x1b  "));
    assert_non_null(strstr(text, "  0%"));
    assert_non_null(strstr(text, "100%"));
    assert_null(strchr(text, '\n'));
    int n_lines = 0;
    for (const char *s = text; (s = strstr(s, "\r\033[K")); n_lines++) {
        s += 4;
        assert_true(strcspn(s, "\r") < 60);
    }
    assert_true(n_lines >= 3);
    assert_string_equal(text + strlen(text) - 4, "\r\033[K"); /* erased at the end */
    tamis_progress_free(p);
}

static void log_lines_clear_the_bar(void **state) {
    struct terminal *t = *state;
    tamis_log log = tamis_log_to_stream(t->stream, false);
    tamis_info(&log, "plain %d", 1);
    tamis_warn(&log, "careful");
    assert_string_equal(see(t), "\r\033[Kplain 1\r\n\r\033[K\033[33mwarning:\033[0m careful\r\n");
    setenv("NO_COLOR", "1", 1);
    tamis_warn(&log, "careful");
    assert_string_equal(see(t), "\r\033[Kwarning: careful\r\n");
    setenv("TERM", "dumb", 1);
    log.is_quiet = true;
    tamis_info(&log, "unseen");
    tamis_warn(&log, "careful");
    assert_string_equal(see(t), "warning: careful\r\n");
    tamis_info(NULL, "nowhere");
}

static void nothing_without_a_terminal(void **state) {
    struct terminal *t = *state;
    char *text = NULL;
    size_t n = 0;
    assert_null(tamis_progress_new(t->stream, true));
    FILE *f = open_memstream(&text, &n);
    assert_non_null(f);
    tamis_progress *p = tamis_progress_new(f, false);
    tamis_progress_begin(p, "x", 10, "B");
    tamis_progress_advance(p, 10);
    tamis_progress_note(p, "y");
    tamis_progress_end(p);
    tamis_progress_free(p);
    tamis_log log = tamis_log_to_stream(f, false);
    tamis_warn(&log, "careful");
    fclose(f);
    assert_string_equal(text, "warning: careful\n");
    free(text);
}

int main(void) {
    int master = -1, slave = -1;
    if (openpty(&master, &slave, NULL, NULL, NULL) != 0) {
        puts("skipped: no pseudo-terminal here");
        return 77;
    }
    close(master);
    close(slave);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_bar_fits_the_terminal, open_terminal, close_terminal),
        cmocka_unit_test_setup_teardown(log_lines_clear_the_bar, open_terminal, close_terminal),
        cmocka_unit_test_setup_teardown(nothing_without_a_terminal, open_terminal, close_terminal),
    };
    return cmocka_run_group_tests_name("base/progress", tests, NULL, NULL);
}
