/* terminal.c - see terminal.h. NO_COLOR: https://no-color.org. */
#include "base/terminal.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

bool tamis_terminal_can_redraw(FILE *stream) {
    int fd = stream ? fileno(stream) : -1;
    if (fd < 0 || !isatty(fd)) return false;
    const char *term = getenv("TERM");
    return term && *term && strcmp(term, "dumb") != 0;
}

bool tamis_terminal_has_colour(FILE *stream) {
    const char *no_colour = getenv("NO_COLOR");
    return tamis_terminal_can_redraw(stream) && !(no_colour && *no_colour);
}

int tamis_terminal_columns(FILE *stream) {
    struct winsize w;
    int fd = stream ? fileno(stream) : -1;
    if (fd >= 0 && ioctl(fd, TIOCGWINSZ, &w) == 0 && w.ws_col > 0) return w.ws_col;
    return 80;
}

/* Nobody holds the other end of standard output any more. Asked of the descriptor itself: the
 * errno of the write that failed is long gone when the stream's error flag is looked at. */
static bool reader_is_gone(void) {
    struct pollfd p = {.fd = STDOUT_FILENO};
    return poll(&p, 1, 0) == 1 && (p.revents & (POLLERR | POLLHUP)) && !(p.revents & POLLNVAL);
}

tamis_status tamis_flush_results(tamis_error *err) {
    if (fflush(stdout) == 0 && !ferror(stdout)) return TAMIS_OK;
    if (reader_is_gone()) return TAMIS_OK;
    return tamis_fail(err, TAMIS_NO_RESOURCE,
                      "standard output cannot be written and results are lost; is its disk full?");
}
