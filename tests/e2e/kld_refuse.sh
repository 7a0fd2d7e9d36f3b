#!/usr/bin/env bash
# The kld tool on input it must refuse: one line that says why, the right exit status, nothing written.
. "$(dirname "$0")/lib.sh"
k() { kld --quiet "$@"; }
run="-c 128 --chunks 2"

expect 2 "no parent" k -f "$evaluation"
expect 2 "no text" k -m "$model"
expect 2 "did you mean '--chunks'" k -m "$model" -f "$evaluation" --chunsk 3
expect 2 "belongs to no option" k -m "$model" -f "$evaluation" more.gguf
expect 2 "is not one of: llama, all" k -m "$model" -f "$evaluation" --score some
expect 2 "no position to score" k -m "$model" -f "$evaluation" -c 2
expect 2 "both name the text" k -m "$model" -f "$evaluation" --tokens "$evaluation"
expect 2 "run of its own" k -m "$model" -f "$evaluation" -q "$model" --dump-logits "$work/x"
expect 3 "missing.gguf" k -m "$work/missing.gguf" -f "$evaluation"
expect 3 "missing.gguf" k -m "$model" -q "$work/missing.gguf" -f "$evaluation"
expect 3 "missing.txt" k -m "$model" -f "$work/missing.txt"
expect 3 "no such base file" k --base "$work/missing.base" -q "$model"
: >"$work/empty"
expect 3 "empty" k -m "$model" -f "$work/empty"
expect 3 "empty" k -m "$model" --tokens "$work/empty"
echo >"$work/newline"
expect 3 "empty" k -m "$model" -f "$work/newline"
echo "too short a text" >"$work/short"
expect 3 "tokens found, one chunk needs 512; .*smaller --ctx" k -m "$model" -f "$work/short"
printf '\1\0\0\0\2\0\0' >"$work/cut.ids"
expect 3 "no whole number of int32 ids.*byte 4" k -m "$model" --tokens "$work/cut.ids"
printf '\1\0\0\0\2\0\0\0\377\377\377\377' >"$work/bad.ids"
expect 3 "id -1 at position 2" k -m "$model" --tokens "$work/bad.ids"
head -c 5000000 "$model" >"$work/cut.gguf"
expect 3 "cut.gguf" k -m "$model" -q "$work/cut.gguf" -f "$evaluation"
expect 4 "no-such-folder" k -m "$model" -f "$evaluation" $run --base "$work/no-such-folder/b"
expect 4 "no-such-folder" k -m "$model" -f "$evaluation" $run --json "$work/no-such-folder/j"
expect 4 "no-such-folder" k -m "$model" -f "$evaluation" $run --dump-logits "$work/no-such-folder/l"
cp "$evaluation" "$work/text"
expect 2 "already a file of this run" k -m "$model" -f "$work/text" --json "$work/text"
expect 2 "already a file of this run" k -m "$model" -f "$work/text" --dump-logits "$work/text"
cmp "$evaluation" "$work/text" || fail "an input was overwritten"

# A base and what differs from it.
k -m "$model" -f "$evaluation" $run --base "$work/b" >/dev/null || fail "writing a base"
expect 3 "context of 128, not 64" k --base "$work/b" -q "$model" -c 64
expect 3 "chunks: 2, not 3" k --base "$work/b" -q "$model" --chunks 3
expect 3 "score llama, not all" k --base "$work/b" -q "$model" --score all
expect 3 "another text" k --base "$work/b" -q "$model" -f "$calibration"
(cat "$evaluation"; echo "one line more") >"$work/longer"
expect 3 "another text" k --base "$work/b" -q "$model" -f "$work/longer"
expect 2 "needs a model" k --base "$work/b" -f "$evaluation"
size=$(stat -c %s "$work/b")
for at in 3 9 15 100 700 $((size / 2)) $((size - 1)); do
    cp "$work/b" "$work/flipped"
    byte=$(od -An -tu1 -j "$at" -N 1 "$work/b")
    printf "\\x$(printf %02x $((byte ^ 32)))" |
        dd of="$work/flipped" bs=1 seek="$at" conv=notrunc 2>/dev/null
    expect 3 "flipped" k --base "$work/flipped" -q "$model"
    head -c "$at" "$work/b" >"$work/cut"
    expect 3 "cut" k --base "$work/cut" -q "$model"
done
expect 3 "not a base file" k --base "$model" -q "$model"

# Other vocabularies and parents, where there are some.
im=${TAMIS_SHARED:-}/fixtures/imatrix
if [ -d "$im" ]; then
    expect 3 "vocabulary of [0-9]+ tokens, its parent" k -m "$model" -q "$im/wide.gguf" -f "$evaluation"
    expect 3 "vocabulary of [0-9]+ tokens, its parent" k --base "$work/b" -q "$im/wide.gguf"
    expect 3 "has architecture qwen2, its parent .* has qwen3" \
        k -m "$im/wide.gguf" -q "$TAMIS_SHARED/fixtures/arch/qwen2.gguf" -f "$evaluation"
    expect 3 "another parent" k --base "$work/b" -m "$TAMIS_SHARED/models/tiny-qwen3-tuned.gguf"
    # bases of llama-perplexity
    expect 3 "wide.base one of 320" k --base "$im/wide.base" -q "$model"
    expect 3 "the base has a vocabulary of 320" k --base "$im/wide.base" -m "$model" -q "$im/wide.gguf"
    expect 3 "context of 128, not 64" k --base "$im/wide.base" -q "$im/wide.gguf" -c 64
    expect 3 "chunks: 24, not 25" k --base "$im/wide.base" -q "$im/wide.gguf" --chunks 25
    expect 3 "score llama, not all" k --base "$im/wide.base" -q "$im/wide.gguf" --score all
    expect 3 "another text" k --base "$im/wide.base" -q "$im/wide.gguf" -f "$evaluation"
    expect 2 "already in the layout" k --base "$im/wide.base" --save-all-logits "$work/again"
    expect 2 "positions of --score llama only" \
        k -m "$model" -f "$evaluation" $run --score all --save-all-logits "$work/all"
    expect 2 "give both, or the parent" k -m "$model" -f "$evaluation" $run --kl-divergence
    while IFS=$'\t' read -r file _ _ message _; do
        case $file in base-*) ;; *) continue ;; esac
        [ "$file" = base-n-vocab-320.base ] || # sound without the model
            expect 3 "${message%%[:,]*}" k --base "$im/bad/$file" -q "$im/wide.gguf"
    done <"$im/bad/README.tsv"
fi
if [ -d "$im" ] && k -m "$im/odd.gguf" -f "$evaluation" -c 16 --chunks 1 >/dev/null 2>&1; then
    expect 3 "vocabulary of 319 tokens.* 320" k --base "$im/bad/base-n-vocab-320.base" -q "$im/odd.gguf"
fi

# Too little disk space is known before the run, for both layouts: nothing is computed (where a small
# file system can be mounted).
if unshare -rm true 2>/dev/null; then
    cat >"$work/small.sh" <<'S'
mount -t tmpfs -o size=256K tmpfs "$1" || exit 77
shift
exec "$@"
S
    mkdir "$work/disk"
    for option in --base --save-all-logits; do
        unshare -rm sh "$work/small.sh" "$work/disk" "$TAMIS_BIN/kld" -m "$model" -f "$evaluation" \
            -c 128 --chunks 20 $option "$work/disk/b" >"$work/stdout" 2>"$work/stderr"
        status=$?
        [ $status = 77 ] && continue
        [ $status = 4 ] || { cat "$work/stderr"; fail "a full disk: exit $status"; }
        grep -q "are needed and 262.14 kB are free" "$work/stderr" || { cat "$work/stderr"; fail "a full disk is not told"; }
        grep -q "scored positions" "$work/stderr" && fail "the run began before the disk was known to be full"
    done
fi

# Ctrl-C: exit 130, nothing left.
rm "$work/b"
k -m "$model" -f "$evaluation" --base "$work/b" >/dev/null 2>&1 &
pid=$!
sleep 0.2
kill -INT $pid
wait $pid
status=$?
[ $status = 130 ] || [ $status = 0 ] || fail "interrupted: exit $status"
[ $status = 0 ] || [ ! -e "$work/b" ] || fail "an interrupted run wrote its base"
no_temporaries "$work"
echo ok
