#!/usr/bin/env bash
# The imatrix tool: what it says about bad input, what it leaves behind, what it is repeatable in.
. "$(dirname "$0")/lib.sh"
im() { imatrix -q "$@"; }

expect 2 "no model" imatrix -f "$calibration"
expect 2 "no text" imatrix -m "$model"
expect 2 "did you mean '--chunks'" imatrix -m "$model" -f "$calibration" --chunsk 3
expect 2 "unexpected argument" imatrix -m "$model" -f "$calibration" more
expect 3 "missing.gguf" im -m "$work/missing.gguf" -f "$calibration" -o "$work/x"
expect 3 "missing.txt" im -m "$model" -f "$work/missing.txt" -o "$work/x"
: >"$work/empty.txt"
expect 3 "empty" im -m "$model" -f "$work/empty.txt" -o "$work/x"
echo "too short" >"$work/short.txt"
expect 3 "tokens" im -m "$model" -f "$work/short.txt" -o "$work/x"
head -c 5000000 "$model" >"$work/cut.gguf"
expect 3 "cut.gguf" im -m "$work/cut.gguf" -f "$calibration" -o "$work/x"
expect 3 "not a GGUF file" im -m "$calibration" -f "$calibration" -o "$work/x"
expect 4 "no-such-folder" im -m "$model" -f "$calibration" -c 256 --chunks 1 -o "$work/no-such-folder/x"
expect 4 "." im -m "$model" -f "$calibration" -c 256 --chunks 1 -o "$work"
[ ! -e "$work/x" ] || fail "a failed run wrote its output"

im -m "$model" -f "$calibration" -c 256 --chunks 3 -t 1 -o "$work/one.gguf" >"$work/one.txt" || fail "run"
im -m "$model" -f "$calibration" -c 256 --chunks 3 -t 2 -o "$work/two.gguf" >"$work/two.txt" || fail "run"
cmp "$work/one.gguf" "$work/two.gguf" || fail "1 and 2 threads differ"
im -m "$model" -f "$calibration" -c 256 --chunks 3 --mem 1M -o "$work/small.gguf" >/dev/null || fail "--mem"
cmp "$work/one.gguf" "$work/small.gguf" || fail "a small memory budget changes the result"
grep -q "final estimate: PPL = " "$work/one.txt" || fail "no perplexity printed"
imatrix --json - -q -m "$model" -f "$calibration" -c 256 --chunks 2 -o "$work/j.gguf" |
    python3 -c 'import json,sys; d=json.load(sys.stdin); assert d["chunks"]==2 and d["ppl"]>1' ||
    fail "--json"
gguf check "$work/one.gguf" >/dev/null || fail "the matrix is no sound GGUF"

# An output may not replace an input.
cp "$model" "$work/m.gguf"
expect 2 "m.gguf' is already a file of this run" \
    im -m "$work/m.gguf" -f "$calibration" -c 64 -o "$work/m.gguf"
expect 2 "m.gguf' is already a file of this run" \
    im -m "$work/m.gguf" -f "$calibration" -c 64 -o "$work/i" --json "$work/m.gguf"
cmp "$model" "$work/m.gguf" || fail "the model was overwritten"
rm "$work/m.gguf"

# Ctrl-C: exit 130 within a second or so, nothing left.
imatrix -q -m "$model" -f "$calibration" -c 64 -o "$work/int.gguf" >/dev/null 2>&1 &
pid=$!
sleep 0.2
kill -INT $pid
wait $pid
status=$?
[ $status = 130 ] || [ $status = 0 ] || fail "interrupted: exit $status"
[ $status = 0 ] || [ ! -e "$work/int.gguf" ] || fail "an interrupted run wrote its output"
no_temporaries "$work"
echo ok
