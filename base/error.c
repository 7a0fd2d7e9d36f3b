/* error.c - messages of tamis_error, and untrusted text made safe to print.
 * Every message stays one line: hidden characters are shown as \xNN, and it is cut at the
 * end of its buffer, never in the middle of a UTF-8 character. */
#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

/* C0 and C1 controls, DEL, and the marks that turn the direction of the text around them, by
 * which a name can be shown as another one; line and paragraph separators break the one line. */
static bool is_hidden(uint32_t c) {
    return c < 0x20 || (c >= 0x7F && c <= 0x9F) || (c >= 0x202A && c <= 0x202E) ||
           (c >= 0x2066 && c <= 0x2069) || c == 0x200E || c == 0x200F || c == 0x2028 ||
           c == 0x2029 || c == 0xFEFF;
}

/* A cut message must not end in half a character. */
static void cut_cleanly(char *message, size_t cap) {
    size_t n = strlen(message);
    if (n + 1 < cap) return;
    while (n > 0 && ((unsigned char)message[n - 1] & 0xC0) == 0x80)
        n--;
    if (n > 0 && (unsigned char)message[n - 1] >= 0xC0) n--;
    message[n] = 0;
}

/* The character at text as it may be printed, into piece; returns how many bytes it took. */
static size_t show_one(const unsigned char *text, size_t n_bytes, char piece[24]) {
    uint32_t c = 0;
    size_t n = tamis_utf8_next((const char *)text, n_bytes, &c);
    if (n > 0 && !is_hidden(c)) {
        memcpy(piece, text, n);
        piece[n] = 0;
        return n;
    }
    if (n == 0) n = 1;
    for (size_t i = 0; i < n; i++)
        snprintf(piece + 4 * i, 5, "\\x%02x", (unsigned)text[i]);
    return n;
}

char *tamis_printable(const char *text, char *out, size_t cap) {
    const size_t n_bytes = strlen(text);
    size_t n = 0;
    char piece[24];
    for (size_t i = 0; i < n_bytes;) {
        i += show_one((const unsigned char *)text + i, n_bytes - i, piece);
        const size_t n_piece = strlen(piece);
        if (n + n_piece >= cap) break;
        memcpy(out + n, piece, n_piece);
        n += n_piece;
    }
    if (cap > 0) out[n] = 0;
    return out;
}

static tamis_status fill(tamis_error *err, tamis_status code, const char *format, va_list args) {
    if (!err) return code;
    char text[sizeof err->message]; /* an argument may be the old message itself */
    if (vsnprintf(text, sizeof text, format, args) < 0) text[0] = 0;
    cut_cleanly(text, sizeof text);
    err->code = code;
    tamis_printable(text, err->message, sizeof err->message);
    return code;
}

/* Put ": text" behind the message, as far as there is room. */
static void append(tamis_error *err, const char *text) {
    size_t n = strlen(err->message), room = sizeof err->message - 1 - n, n_text = strlen(text);
    if (room < 2) return;
    memcpy(err->message + n, ": ", 2);
    if (n_text > room - 2) n_text = room - 2;
    memcpy(err->message + n + 2, text, n_text);
    err->message[n + 2 + n_text] = 0;
    cut_cleanly(err->message, sizeof err->message);
}

tamis_status tamis_fail(tamis_error *err, tamis_status code, const char *format, ...) {
    va_list args;
    va_start(args, format);
    fill(err, code, format, args);
    va_end(args);
    return code;
}

tamis_status tamis_fail_prefix(tamis_error *err, const char *format, ...) {
    if (!err) return TAMIS_BAD_INPUT;
    tamis_error inner = *err;
    va_list args;
    va_start(args, format);
    fill(err, inner.code, format, args);
    va_end(args);
    append(err, inner.message);
    return err->code;
}

tamis_status tamis_fail_errno(tamis_error *err, tamis_status code, const char *format, ...) {
    int cause = errno;
    if (!err) return code;
    va_list args;
    va_start(args, format);
    fill(err, code, format, args);
    va_end(args);
    char text[128], buffer[64];
    snprintf(text, sizeof text, "%s", strerror_r(cause, buffer, sizeof buffer));
    /* The house style is lower case: "Permission denied" becomes "permission denied", while
     * "RPC ..." keeps its capitals. */
    if (text[0] >= 'A' && text[0] <= 'Z' && text[1] >= 'a' && text[1] <= 'z')
        text[0] = (char)(text[0] - 'A' + 'a');
    append(err, text);
    errno = cause;
    return code;
}

/* The same for tamis_escape(), in which quotes and the common controls have short names. */
static size_t escape_one(const unsigned char *text, size_t n_bytes, char piece[24]) {
    const unsigned char c = text[0];
    const char named = c == '\n'               ? 'n'
                       : c == '\t'             ? 't'
                       : c == '\r'             ? 'r'
                       : c == '"' || c == '\\' ? (char)c
                                               : 0;
    if (!named) return show_one(text, n_bytes, piece);
    piece[0] = '\\', piece[1] = named, piece[2] = 0;
    return 1;
}

char *tamis_escape(const char *text, size_t n_bytes, char *out, size_t cap) {
    if (cap == 0) return out;
    size_t n = 0, n_safe = 0; /* n_safe: last end that leaves room for "..." */
    char piece[24];
    for (size_t i = 0; i < n_bytes;) {
        i += escape_one((const unsigned char *)text + i, n_bytes - i, piece);
        size_t n_piece = strlen(piece);
        if (n + n_piece >= cap) {
            for (size_t k = 0; k < 3 && n_safe + 1 < cap; k++)
                out[n_safe++] = '.';
            n = n_safe;
            break;
        }
        memcpy(out + n, piece, n_piece);
        n += n_piece;
        if (n + 4 <= cap) n_safe = n;
    }
    out[n] = 0;
    return out;
}
