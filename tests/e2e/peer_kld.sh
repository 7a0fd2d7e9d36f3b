#!/usr/bin/env bash
# Against llama-perplexity: base files go both ways and every line it prints is the same here. Needs
# TAMIS_PEER, a folder with llama-perplexity; skipped without it.
#   KLD and log ratios: within 2e-5; perplexities and probabilities: within 0.01 %
#   rows of base files: scale and floor within 1e-5, values within one unit
#   --ppl-stride: within 1e-5
. "$(dirname "$0")/lib.sh"
[ -n "${TAMIS_PEER:-}" ] && [ -x "$TAMIS_PEER/llama-perplexity" ] || skip "TAMIS_PEER is not set"
im=${TAMIS_SHARED:-}/fixtures/imatrix
peer="$TAMIS_PEER/llama-perplexity -nr -fa off -ctk f32 -ctv f32 --no-warmup -t 1"
k() { kld --quiet "$@"; }

# peer_run PATTERN ARGUMENTS...: its last lines are lost at exit now and then: then it runs again.
peer_run() {
    local pattern=$1
    shift
    for _ in 1 2 3 4; do
        $peer "$@" >"$work/peer.txt" 2>&1
        grep -q -- "$pattern" "$work/peer.txt" && return
    done
    tail -5 "$work/peer.txt" >&2
    fail "llama-perplexity printed no '$pattern': $*"
}

# lines NAME OURS PEERS: all lines of the peer's tables, values and uncertainties.
lines() {
    python3 - "$@" <<'P' || fail "$1 differs"
import re, sys
name, ours, peers = sys.argv[1:]
def read(path):
    found, chunks = {}, []
    for line in open(path, encoding="utf-8", errors="replace"):
        line = re.sub(r"^[0-9.]+ I ", "", line)
        m = re.match(r" *([^:]*(?:KLD|Δp|PPL|top p)[^:]*?) *: *(-?[0-9.]+)(?: ± +([0-9.]+))?(?: *(%))?", line)
        if m and "====" not in line:
            found[" ".join(m[1].split())] = float(m[2]), m[3] and float(m[3]), "%" in line
        if re.match(r" *\d+ +[0-9.]+ ± ", line):
            chunks.append([float(x) for x in re.findall(r"-?\d+\.?\d*", line)])
    return found, chunks
(a, a_chunks), (b, b_chunks) = read(ours), read(peers)
missing = [line for line in b if line not in a]
assert len(b) >= 34 and not missing, (len(b), missing)
worst = dict.fromkeys(("KLD and logs", "PPL", "%"), 0.0)
for line, (value, error, percent) in b.items():
    for x, y in ((a[line][0], value), (a[line][1], error)):
        if y is None:
            continue
        absolute = "KLD" in line or "ln(PPL(Q)/" in line
        digit = 1.01e-2 if line.startswith("Cor") else 1.01e-3 if percent else 2e-5 if absolute else 2e-4
        d = abs(x - y)
        assert d <= digit + (0 if absolute else 1e-4 * abs(y)), (line, x, y)
        kind = "%" if percent else "KLD and logs" if absolute else "PPL"
        worst[kind] = max(worst[kind], d / max(abs(y), 1e-9) if kind == "PPL" and abs(y) > 20 else d if kind != "PPL" else 0)
assert len(a_chunks) == len(b_chunks) > 5, (len(a_chunks), len(b_chunks))
for x, y in zip(a_chunks, b_chunks):
    assert all(abs(p - q) <= 1.1e-3 + 1e-5 * abs(q) for p, q in zip(x, y)), (x, y)
print("%-34s %d lines, largest difference: KLD %.1e, PPL %.1e relative, %% %.1e" % (
    name, len(b), worst["KLD and logs"], worst["PPL"], worst["%"]))
P
}

# rows A B: two base files of one model.
rows() {
    python3 - "$@" <<'P' || fail "rows of the base files differ"
import array, struct, sys
a, b = (open(p, "rb").read() for p in sys.argv[1:])
assert len(a) == len(b), (len(a), len(b))
n_ctx, n_vocab, n_chunk = struct.unpack_from("<iii", a, 8)
at = 20 + 4 * n_ctx * n_chunk
assert a[:at] == b[:at], "header or tokens"
n_row, n_other, n_all, worst = 8 + 4 * ((n_vocab + 1) // 2), 0, 0, 0
for at in range(at, len(a), n_row):
    (s, f), (t, g) = (struct.unpack_from("<ff", x, at) for x in (a, b))
    worst = max(worst, abs(s / t - 1), abs(f / g - 1))
    if a[at + 8:at + n_row] == b[at + 8:at + n_row]:
        n_all += n_vocab
        continue
    p, q = (array.array("H", x[at + 8:at + n_row]) for x in (a, b))
    assert max(abs(x - y) for x, y in zip(p, q)) <= 1
    n_other += sum(x != y for x, y in zip(p, q))
    n_all += n_vocab
assert worst <= 1e-5, worst
print("base files: scale and floor within %.1e, %d of %d values one unit apart" % (worst, n_other, n_all))
P
}

# both_ways PARENT QUANT TEXT CTX CHUNKS
both_ways() {
    local name
    name=$(basename "$2" .gguf)
    quantize -q "$1" "$work/p.gguf" F32 && quantize -q --allow-requantize "$2" "$work/q.gguf" F32 ||
        fail "expanding to F32"
    peer_run 'Final estimate' -m "$work/p.gguf" -f "$3" -c "$4" -b "$4" --chunks "$5" \
        --save-all-logits "$work/peers.base"
    k -m "$1" -f "$3" -c "$4" --chunks "$5" --save-all-logits "$work/ours.base" >/dev/null ||
        fail "--save-all-logits"
    rows "$work/ours.base" "$work/peers.base"
    for base in peers ours; do
        k --base "$work/$base.base" -q "$2" --per-chunk >"$work/ours.txt" || fail "--base $base"
        peer_run '^Same top p' -m "$work/q.gguf" -c "$4" -b "$4" \
            --kl-divergence-base "$work/$base.base" --kl-divergence
        lines "$name, $base base" "$work/ours.txt" "$work/peer.txt"
    done
}

quantize -q "$model" "$work/q4.gguf" Q4_K_M || fail "quantize"
both_ways "$model" "$work/q4.gguf" "$evaluation" 256 12
if [ -d "$im" ]; then
    both_ways "$im/wide.gguf" "$im/wide.Q4_K_M.gguf" "$im/eval.txt" 128 24
    both_ways "$im/odd.gguf" "$im/odd.Q8_0.gguf" "$im/eval.txt" 96 30
    both_ways "$im/idle-expert.gguf" "$im/idle-expert.Q4_0.gguf" "$im/eval.txt" 128 20
    # Windows: the peer makes its context larger by half a stride, then a multiple of 256. Without
    # BOS its windows are ours.
    quantize -q "$im/wide.gguf" "$work/p.gguf" F32 || fail "F32"
    peer_run '\[85\]' -m "$work/p.gguf" -f "$im/eval.txt" -c 240 -b 240 --ppl-stride 32
    k -m "$im/wide.gguf" -f "$im/eval.txt" -c 256 --ppl-stride 32 >"$work/ours.txt" || fail "--ppl-stride"
    python3 - "$work/ours.txt" "$work/peer.txt" <<'P' || fail "--ppl-stride differs"
import re, sys
a, b = ([float(x) for x in re.findall(r"\[\d+\]([0-9.]+),", open(p, errors="replace").read())] for p in sys.argv[1:])
worst = max(abs(x / y - 1) for x, y in zip(a, b))
assert len(a) == 90 and 85 <= len(b) <= 90 and worst < 1e-5, (len(a), len(b), worst)
print("--ppl-stride: %d windows, PPL within %.1e" % (len(b), worst))
P
fi
echo ok
