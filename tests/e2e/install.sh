#!/usr/bin/env bash
# cmake --install into a folder of its own: every installed header compiles alone, nothing internal
# is among them, a program builds against the library by pkg-config, man pages and
# shell completions are in place.
. "$TAMIS_SOURCE/tests/e2e/lib.sh"

command -v pkg-config >/dev/null || skip "no pkg-config"
compiler=$(sed -n 's/^CMAKE_C_COMPILER:[A-Z]*=//p' "$TAMIS_BIN/../CMakeCache.txt")
flags=$(sed -n 's/^CMAKE_C_FLAGS:[A-Z]*=//p' "$TAMIS_BIN/../CMakeCache.txt")
root=$work/root
cmake --install "$TAMIS_BIN/.." --prefix "$root" >"$work/log" || fail "install: $(tail -1 "$work/log")"

pc=$(find "$root" -name tamis.pc)
[ -n "$pc" ] || fail "no tamis.pc"
export PKG_CONFIG_PATH=${pc%/*}
cflags=$(pkg-config --cflags tamis) || fail "pkg-config --cflags"
libs=$(pkg-config --libs tamis) || fail "pkg-config --libs"
static_libs=$(pkg-config --libs --static tamis) || fail "pkg-config --libs --static"

n=0
for header in $(cd "$root/include/tamis" && find . -name '*.h' | sort); do
    case $header in *_internal.h) fail "an internal header is installed: $header" ;; esac
    # shellcheck disable=SC2086
    echo "#include \"${header#./}\"" | $compiler -std=c11 -Wall -Wextra -Werror $cflags \
        -fsyntax-only -x c - || fail "$header does not compile alone"
    n=$((n + 1))
done
[ "$n" -gt 10 ] || fail "$n headers are installed"

cat >"$work/program.c" <<'END'
#include <stdio.h>
#include "gguf/gguf.h"
#include "kld/report.h"
#include "quantize/quantize.h"
int main(int argc, char **argv) {
    tamis_gguf *g = NULL;
    tamis_error err = {0};
    int n_types = 0;
    tamis_kld_result none = {0};
    tamis_formats_init();
    (void)tamis_file_type_table(&n_types);
    tamis_kld_result_release(&none);
    if (argc < 2 || tamis_gguf_open(argv[1], NULL, &g, &err)) return 1;
    printf("%d %lld\n", n_types > 20, (long long)tamis_gguf_n_tensors(g));
    tamis_gguf_close(g);
    return 0;
}
END
for way in "$libs" "$static_libs"; do
    # shellcheck disable=SC2086
    $compiler $flags -std=c11 $cflags "$work/program.c" -o "$work/program" $way || fail "no program: $way"
done
got=$("$work/program" "$model") || fail "the program fails"
[ "$got" = "1 $(gguf show --json - "$model" | grep -c '"ne":')" ] || fail "program: '$got'"

n_pages=0
for tool in gguf imatrix quantize kld; do
    # The tool's own page, and one for each sub-command that its completion names.
    for part in "" $(sed -n "s/^    \([a-z-]*\)) __${tool}_.*/-\1/p" \
        "$root/share/bash-completion/completions/$tool"); do
        [ -s "$root/share/man/man1/$tool$part.1" ] || fail "no man page $tool$part.1"
        n_pages=$((n_pages + 1))
    done
    "$root/bin/$tool" --version >"$work/version" || fail "$tool --version"
    [ "$("$root/bin/$tool" --completion bash)" = \
        "$(cat "$root/share/bash-completion/completions/$tool")" ] || fail "$tool: bash completion"
    head -1 "$root/share/zsh/site-functions/_$tool" | grep -qx "#compdef $tool" ||
        fail "$tool: zsh completion"
    grep -q "^complete -c $tool " "$root/share/fish/vendor_completions.d/$tool.fish" ||
        fail "$tool: fish completion"
done
[ "$(find "$root/share/man" -name '*.1' | wc -l)" = $n_pages ] || fail "more man pages than commands"
