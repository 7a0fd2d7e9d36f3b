#!/usr/bin/env bash
# imatrix --resume: ten kills at random moments and the file is the same to the byte; checkpoints
# that are damaged or of another run are refused; what is said and what is left behind.
. "$(dirname "$0")/lib.sh"
seed=${TAMIS_SEED:-$$}
RANDOM=$seed
echo "seed $seed"
ck=$work/out.gguf.checkpoint
text=$calibration
run() { imatrix -m "$model" -f "$text" -c 128 --chunks 16 -o "$work/out.gguf" "$@"; }
every() { run --checkpoint-every 0 "$@"; }

# start_and_kill SIGNAL ARGS...: killed as soon as there is a checkpoint.
start_and_kill() {
    local signal=$1
    shift
    rm -f "$ck"
    imatrix -m "$model" -f "$calibration" -c 128 --chunks 16 -o "$work/out.gguf" \
        --checkpoint-every 0 "$@" >"$work/killed.txt" 2>"$work/killed.err" &
    local pid=$!
    while [ ! -e "$ck" ] && kill -0 $pid 2>/dev/null; do sleep 0.01; done
    kill "-$signal" $pid 2>/dev/null
    wait $pid 2>/dev/null
    killed_status=$?
    [ -e "$ck" ] || fail "no checkpoint is left by kill $signal"
}

start=$(date +%s%N)
every >"$work/whole.txt" 2>"$work/whole.err" || fail "run with checkpoints"
took_ms=$((($(date +%s%N) - start) / 1000000))
[ ! -e "$ck" ] || fail "the checkpoint is still there after the run"
grep -q "checkpoint of .* after layer 1 of 6" "$work/whole.err" || fail "the checkpoint is not named"
mv "$work/out.gguf" "$work/whole.gguf"
run --no-checkpoint >"$work/none.txt" 2>/dev/null || fail "--no-checkpoint"
cmp "$work/out.gguf" "$work/whole.gguf" || fail "checkpoints change the result"
rm "$work/out.gguf"

# Ten kills; threads change from one run to the next, and so does the moment.
n_kills=0 n_runs=0
while [ $n_kills -lt 10 ]; do
    n_runs=$((n_runs + 1))
    [ $n_runs -le 60 ] || fail "60 runs and only $n_kills kills"
    imatrix -q -m "$model" -f "$calibration" -c 128 --chunks 16 -o "$work/out.gguf" \
        --checkpoint-every 0 --resume -t $((1 + n_runs % 2)) >"$work/again.txt" 2>"$work/again.err" &
    pid=$!
    ms=$((RANDOM % (took_ms + 1)))
    sleep "$((ms / 1000)).$(printf '%03d' $((ms % 1000)))"
    if kill -9 $pid 2>/dev/null; then n_kills=$((n_kills + 1)); fi
    wait $pid 2>/dev/null
    [ -s "$work/again.err" ] && fail "a resumed run says: $(cat "$work/again.err")"
    if [ -e "$work/out.gguf" ]; then
        cmp "$work/out.gguf" "$work/whole.gguf" || fail "kill $n_kills: another file"
        rm "$work/out.gguf"
    fi
done
every --resume >"$work/again.txt" 2>"$work/again.err" || fail "the last resume"
cmp "$work/out.gguf" "$work/whole.gguf" || fail "resumed after ten kills: another file"
cmp "$work/again.txt" "$work/whole.txt" || fail "resumed: another perplexity"
[ ! -e "$ck" ] || fail "the checkpoint is still there after the resumed run"
no_temporaries "$work"
rm "$work/out.gguf"
echo "$n_kills kills in $n_runs runs of about $took_ms ms: the same file"

# Ctrl-C says where it goes on; the run that does may use other threads and memory.
start_and_kill INT -t 1
[ $killed_status = 130 ] || fail "interrupted: exit $killed_status"
grep -q "interrupted; --resume goes on after layer" "$work/killed.err" || fail "interrupted: no word of --resume"
[ ! -e "$work/out.gguf" ] || fail "an interrupted run wrote its output"
run --resume -t 2 --mem 1M >"$work/again.txt" 2>"$work/again.err" || fail "resume after Ctrl-C"
grep -q "going on after layer [1-6] of 6" "$work/again.err" || fail "not said where it goes on"
cmp "$work/out.gguf" "$work/whole.gguf" || fail "resumed after Ctrl-C: another file"
rm "$work/out.gguf"

# Nothing to resume: said, and begun at the first layer.
run --resume >/dev/null 2>"$work/again.err" || fail "--resume without a checkpoint"
grep -q "there is no checkpoint; beginning at the first layer" "$work/again.err" || fail "no note"
cmp "$work/out.gguf" "$work/whole.gguf" || fail "--resume without a checkpoint: another file"
rm "$work/out.gguf"

# Without --resume the checkpoint is named and goes.
start_and_kill KILL
run >/dev/null 2>"$work/again.err" || fail "run over a checkpoint"
grep -q "warning: .*checkpoint of this run after layer . will be replaced" "$work/again.err" ||
    fail "not said that a checkpoint is replaced"
[ ! -e "$ck" ] || fail "the old checkpoint is still there"
start_and_kill KILL
cp "$ck" "$work/kept"
run -c 64 >/dev/null 2>"$work/again.err" || fail "other run over a checkpoint"
grep -q "warning: .*of another run (--ctx was 128, now it is 64) will be replaced" "$work/again.err" ||
    fail "not said that a checkpoint of another run is replaced"

# Reading one and writing none: it stays as it is until the result is there.
cp "$work/kept" "$ck"
expect 3 "missing" run --resume --no-checkpoint -m "$work/missing"
cmp "$ck" "$work/kept" || fail "--no-checkpoint wrote one"
run --resume --no-checkpoint >/dev/null 2>&1 || fail "--resume --no-checkpoint"
cmp "$work/out.gguf" "$work/whole.gguf" || fail "--resume --no-checkpoint: another file"
rm "$work/out.gguf"

# Another run's: refused, naming what differs; the file stays.
other() { # PATTERN ARGS...
    local pattern=$1
    shift
    cp "$work/kept" "$ck"
    expect 3 "of another run: $pattern" run -q --resume "$@"
    cmp "$ck" "$work/kept" || fail "a refused checkpoint was changed"
    [ ! -e "$work/out.gguf" ] || fail "a refused resume wrote its output"
}
other "--ctx was 128, now it is 64" -c 64
other "texts \(chunks x weight\) was 16 x 1, now it is 15 x 1" --chunks 15
other "text \(hash" --from-chunk 1
other "texts \(chunks x weight\) was 16 x 1, now it is 16 x 1, 16 x 1" -f "$evaluation"
text=$evaluation
other "text \(hash"
text=$calibration
other "--process-output was off, now it is on" --process-output
other "--all-experts was off, now it is on" --all-experts
other "texts \(chunks x weight\) was 16 x 1, now it is 16 x 0.5" --text-weight "$calibration=0.5"
tuned=${TAMIS_SHARED:-}/models/tiny-qwen3-tuned.gguf
[ ! -e "$tuned" ] || other "model \(hash\)" -m "$tuned"

# Damaged ones: every part, and cut off anywhere.
size=$(stat -c %s "$work/kept")
for at in 9 17 20 33 45 100 4000 9500 20000 $((size / 2)) $((size - 30000)) $((size - 40)) $((size - 1)); do
    cp "$work/kept" "$ck"
    byte=$(od -An -tu1 -j "$at" -N 1 "$ck")
    printf "\\x$(printf '%02x' $((byte ^ 64)))" | dd of="$ck" bs=1 seek="$at" conv=notrunc status=none
    expect 3 "damaged|another version|another run" run -q --resume
done
for n in 9 31 60 5000 $((size / 2)) $((size - 1)); do
    head -c "$n" "$work/kept" >"$ck"
    expect 3 "checkpoint is damaged .*cut off" run -q --resume
done
{ cat "$work/kept"; echo more; } >"$ck"
expect 3 "checkpoint is damaged" run -q --resume
run -q >/dev/null 2>"$work/again.err" || fail "a damaged checkpoint stops a run from the beginning"
grep -q "warning: .*damaged.*replace it" "$work/again.err" || fail "a damaged checkpoint is not named"
rm "$work/out.gguf"

# What is in its place and no checkpoint stays.
echo precious >"$ck"
expect 3 "no checkpoint; move it away" run -q
expect 3 "no checkpoint; move it away" run -q --resume
[ "$(cat "$ck")" = precious ] || fail "a file that is no checkpoint was touched"
run -q --no-checkpoint >/dev/null || fail "--no-checkpoint beside a foreign file"
[ "$(cat "$ck")" = precious ] || fail "a file that is no checkpoint was removed"
rm "$ck" "$work/out.gguf"
expect 2 "no regular file" imatrix -q -m "$model" -f "$calibration" -o /dev/null --resume
expect 2 "already a file of this run" imatrix -q -m "$model" -f "$calibration" -o "$work/x" \
    --json "$work/x.checkpoint"

# No room for it: a warning, and the same result.
(ulimit -f 1000; every >/dev/null 2>"$work/again.err") || fail "a checkpoint without room ends the run"
[ "$(grep -c "warning: no checkpoint after layer 1, the run goes on" "$work/again.err")" = 1 ] ||
    fail "not said once that there is no checkpoint"
cmp "$work/out.gguf" "$work/whole.gguf" || fail "without room for checkpoints: another file"
no_temporaries "$work"
echo ok
