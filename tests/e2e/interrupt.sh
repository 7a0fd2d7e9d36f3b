#!/usr/bin/env bash
# Ctrl-C in each command that can run long: exit 130 soon (TAMIS_INTERRUPT_MS, which is generous for
# a loaded machine), one line that says so, no output, nothing half-written. The sub-commands are
# those the tools' completion names. Their model is 2 GB of zeros, most of them holes on the disk.
. "$(dirname "$0")/lib.sh"
limit_ms=${TAMIS_INTERRUPT_MS:-3000}
cd "$work" || exit 1
python3 - big.gguf <<'P' || fail "no model"
import struct, sys
def text(s):
    return struct.pack("<Q", len(s)) + s.encode()
def number(key, value):
    return text(key) + struct.pack("<II", 4, value)
keys = [text("general.architecture") + struct.pack("<I", 8) + text("llama")]
keys += [number("llama." + k, v) for k, v in (
    ("block_count", 8), ("embedding_length", 4096), ("feed_forward_length", 16384),
    ("attention.head_count", 32), ("attention.head_count_kv", 32), ("context_length", 64))]
keys += [text("split.count") + struct.pack("<IH", 2, 1)] # so that it can be merged
names = ["blk.%d.ffn_%s.weight" % (i, kind) for i in range(4) for kind in ("down", "up")]
n = 4096 * 16384
with open(sys.argv[1], "wb") as f:
    f.write(b"GGUF" + struct.pack("<IQQ", 3, len(names), len(keys)) + b"".join(keys))
    for i, name in enumerate(names):
        f.write(text(name) + struct.pack("<IQQIQ", 2, 4096, 16384, 0, i * n * 4))
    f.write(b"\0" * (-f.tell() % 32))
    f.truncate(f.tell() + len(names) * n * 4)
P
quantize -q "$model" small.gguf Q8_0 || fail "quantize"
cat "$calibration" "$calibration" >text.txt
imatrix -q -m "$model" -f "$evaluation" -c 64 --chunks 1 -o im.gguf >/dev/null || fail "imatrix"
touch before

# long_run COMMAND...: sets args to a run that takes seconds; empty when the command never does.
long_run() {
    args=(big.gguf)
    case "$*" in
    gguf | "gguf show") args=() ;;
    "imatrix "*) args=() ;;
    imatrix) args=(-m "$model" -f text.txt -c 64 -o out.gguf) ;;
    quantize) args=(big.gguf out.gguf Q4_K_M) ;;
    kld) args=(-m "$model" -q small.gguf -f text.txt -c 64 --base out.base) ;;
    "gguf diff") args=(big.gguf big.gguf) ;;
    "gguf split") args=(--max-tensors 3 big.gguf out) ;;
    "gguf merge") args=(big.gguf out.gguf) ;;
    "gguf set") args=(big.gguf x=u32:1 -o out.gguf) ;;
    "gguf unset") args=(big.gguf llama.context_length -o out.gguf) ;;
    "gguf template") args=(big.gguf --set text.txt -o out.gguf) ;;
    esac
}

# interrupt SECONDS COMMAND...: prints exit status and milliseconds from the signal to the end.
interrupt() {
    python3 - "$@" <<'P'
import signal, subprocess, sys, time
p = subprocess.Popen(sys.argv[2:], stdout=subprocess.DEVNULL, stderr=open("err", "wb"),
                     preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))
time.sleep(float(sys.argv[1]))
p.send_signal(signal.SIGINT)
start = time.monotonic()
try:
    code = p.wait(timeout=60)
except subprocess.TimeoutExpired:
    p.kill()
    code = "none in a minute"
print(code, round((time.monotonic() - start) * 1000))
P
}

longest=0 n=0 n_caught=0
for tool in gguf imatrix quantize kld; do
    for part in "" $("$tool" --completion bash | sed -n "s/^    \([a-z-]*\)) __${tool}_.*/\1/p"); do
        command=("$tool" ${part:+"$part"})
        long_run "${command[@]}"
        [ ${#args[@]} -gt 0 ] || continue
        for moment in 0.1 0.5; do
            read -r code ms <<<"$(interrupt "$moment" "${command[@]}" "${args[@]}")"
            n=$((n + 1))
            # A fast command may be done before the signal comes, a slow machine may not have
            # begun (-2: ended by the signal itself).
            if [ "$code" = 0 ] || [ "$code" = -2 ] || { [ "$code" = 1 ] && [ ! -s err ]; }; then
                rm -f out*
                continue
            fi
            [ "$code" = 130 ] ||
                fail "${command[*]}: exit $code after Ctrl-C at $moment s: $(tail -1 err)"
            grep -q 'interrupted' err || fail "${command[*]}: '$(cat err)' after Ctrl-C"
            [ "$ms" -le "$limit_ms" ] || fail "${command[*]}: $ms ms from Ctrl-C to the end"
            left=$(find . -newer before -type f ! -name err)
            [ -z "$left" ] || fail "${command[*]}: left behind: $left"
            [ "$ms" -le "$longest" ] || longest=$ms
            n_caught=$((n_caught + 1))
        done
    done
done
[ $n_caught -ge 9 ] || fail "only $n_caught of $n runs were caught at work"
echo "$n_caught of $n runs ended by Ctrl-C, the slowest in $longest ms"
