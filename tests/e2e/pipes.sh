#!/usr/bin/env bash
# Standard output of the four tools: a reader that leaves early is no error and draws no message;
# results that could not be written are.
. "$TAMIS_SOURCE/tests/e2e/lib.sh"

# early NAME COMMAND...: into a pipe whose reader is gone before the first byte.
early() {
    local name=$1
    shift
    { sleep 0.3; "$@" 2>"$work/stderr"; echo $? >"$work/status"; } | true
    [ "$(cat "$work/status")" = 0 ] || fail "$name: exit $(cat "$work/status") into a closed pipe"
    [ ! -s "$work/stderr" ] || fail "$name: $(head -1 "$work/stderr")"
}
text=$work/text.txt
head -c 4000 "$evaluation" >"$text"
imatrix_run=(imatrix -q -m "$model" -f "$text" -c 64 --chunks 2 -o "$work/i.gguf")
kld_run=(kld --quiet --summary -m "$model" -q "$model" -f "$text" -c 64 --chunks 2)

early 'gguf show' gguf show "$model"
early 'gguf show --json' gguf show --json - "$model"
early 'gguf check' gguf check "$model"
early imatrix "${imatrix_run[@]}"
[ -s "$work/i.gguf" ] || fail "imatrix: its file is missing when nobody reads its statistics"
early quantize quantize -q --dry-run "$model" "$work/x.gguf" Q4_K_M
early kld "${kld_run[@]}"

[ -c /dev/full ] || exit 0
full() { "$@" >/dev/full; }
expect 4 'cannot be written' full gguf show "$model"
expect 4 'cannot be written' full gguf show --json - "$model"
expect 4 'cannot be written' full quantize -q --dry-run "$model" "$work/x.gguf" Q4_K_M
expect 4 'cannot be written' full "${imatrix_run[@]}"
expect 4 'cannot be written' full "${kld_run[@]}"
