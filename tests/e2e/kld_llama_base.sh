#!/usr/bin/env bash
# Base files in the layout of llama-perplexity: the peer's give the peer's numbers here, ours hold what
# the peer's hold, and conversions, threads, memory and chunks change nothing.
. "$(dirname "$0")/lib.sh"
im=${TAMIS_SHARED:-}/fixtures/imatrix
[ -d "$im" ] || skip "no reference fixtures at ${TAMIS_SHARED:-}"
text=$im/eval.txt

# reads MODEL TYPE: every line of the peer's table, from the peer's base file. KLD and log ratios
# within 2e-5, perplexities and probabilities within 0.01 % (or the last digit printed).
reads() {
    kld --quiet --base "$im/$1.base" -q "$im/$1.$2.gguf" >"$work/out" || fail "$1 $2"
    python3 - "$work/out" "$im/$1.$2.kld.tsv" <<'P' || fail "$1 $2 differs from the peer"
import re, sys
ours = {}
for line in open(sys.argv[1], encoding="utf-8"):
    m = re.match(r" *(.*?) *: *(-?[0-9.]+) ± +([0-9.]+)", line.replace("Δp", "dp"))
    if m:
        ours[" ".join(m[1].split())] = float(m[2]), float(m[3])
lines = open(sys.argv[2], encoding="utf-8").read().splitlines()[1:]
assert len(lines) >= 34, "short table"
for line in lines:
    name, value, error, unit = (line + "\t\t").split("\t")[:4]
    digit = 1.01e-2 if name.startswith("Cor") else 1.01e-3 if unit == "%" else 2e-5
    near = lambda a, b: abs(a - b) <= digit + (1e-4 * abs(b) if "KLD" not in name else 0)
    assert near(ours[name][0], float(value)), (name, ours[name][0], value)
    assert not error or near(ours[name][1], float(error)), (name, ours[name][1], error)
P
}
reads wide Q4_0
reads wide Q4_K_M
reads idle-expert Q4_0
reads odd Q4_0
reads odd Q8_0

# writes MODEL CTX CHUNKS: the same header, tokens and size; q within one unit, scale and floor
# within 1e-5.
writes() {
    kld --quiet -m "$im/$1.gguf" -f "$text" -c "$2" --chunks "$3" --save-all-logits "$work/$1.base" \
        >"$work/$1.ppl" || fail "--save-all-logits of $1"
    python3 - "$work/$1.base" "$im/$1.base" <<'P' || fail "base file of $1 differs from the peer's"
import struct, sys
a, b = (open(p, "rb").read() for p in sys.argv[1:])
assert len(a) == len(b), (len(a), len(b))
n_ctx, n_vocab, n_chunk = struct.unpack_from("<iii", a, 8)
at = 20 + 4 * n_ctx * n_chunk
assert a[:at] == b[:at], "header or tokens"
n_row = 8 + 4 * ((n_vocab + 1) // 2)
for at in range(at, len(a), n_row):
    (s, f), (t, g) = (struct.unpack_from("<ff", x, at) for x in (a, b))
    assert abs(s - t) <= 1e-5 * t and abs(f - g) <= 1e-5 * abs(g), (at, s, t, f, g)
    p, q = (struct.unpack_from("<%dH" % ((n_row - 8) // 2), x, at + 8) for x in (a, b))
    assert max(abs(x - y) for x, y in zip(p, q)) <= 1, at
    assert n_vocab % 2 == 0 or p[-1] == 0, "padding"
P
    # the peer's own perplexity while it wrote, from f32 likelihoods
    ppl=$(sed -n 's/^Final estimate: PPL = \([0-9.]*\).*/\1/p' "$im/$1.base.ppl")
    sed 's/.*PPL = \([0-9.]*\) .*/\1/' "$work/$1.ppl" |
        awk -v p="$ppl" '{ d = $1 - p; exit !(d * d <= 1e-12 * p * p) }' || fail "PPL of $1 is not $ppl"
}
writes wide 128 24
writes idle-expert 128 20
writes odd 96 30

# What we wrote gives what the peer's gives; one thread, little memory, two models, the text or the
# parent beside it, the peer's way of naming things: all the same.
quants="-q $im/wide.Q4_0.gguf -q $im/wide.Q4_K_M.gguf"
kld --quiet --base "$im/wide.base" $quants >"$work/1" || fail "two models"
same() { # NAME ARGUMENTS...
    local name=$1
    shift
    kld --quiet "$@" >"$work/2" || fail "$name"
    diff "$work/1" "$work/2" || fail "$name: other results"
}
same "one thread" --base "$im/wide.base" $quants -t 1
same "little memory" --base "$im/wide.base" $quants --mem 100K
same "with the text" --base "$im/wide.base" $quants -f "$text" -c 128 --chunks 24 --score llama
same "the peer's names" --kl-divergence-base "$im/wide.base" --kl-divergence \
    -m "$im/wide.Q4_0.gguf" -q "$im/wide.Q4_K_M.gguf"
kld --quiet --base "$im/wide.base" -m "$im/wide.gguf" $quants --summary >"$work/2" || fail "with -m"
grep -q "^wide.gguf " "$work/2" || fail "the parent is not named"
kld --quiet --base "$work/wide.base" $quants --json "$work/ours.json" >/dev/null || fail "our own"
kld --quiet --base "$im/wide.base" $quants --json "$work/peers.json" >/dev/null || fail "--json"
kld --quiet --base "$im/wide.base" $quants --chunks 7 --json "$work/7.json" >/dev/null || fail "--chunks"
python3 - "$work/ours.json" "$work/peers.json" "$work/7.json" <<'P' || fail "JSON of a llama base"
import json, sys
ours, peers, seven = (json.load(open(p)) for p in sys.argv[1:])
assert ours["base"]["layout"] == "llama-perplexity" and 1 < ours["base"]["range"] < 16.001
assert ours["text"]["hash"] == peers["text"]["hash"] and len(ours["text"]["hash"]) == 32
for a, b in zip(ours["quants"], peers["quants"]):
    for key in a["kld"]:
        assert abs(a["kld"][key]["value"] - b["kld"][key]["value"]) < 2e-5, key
assert seven["n_chunks"] == 7 and seven["n_positions"] == 7 * 63
P

# A base of ours turned into one of the peer's layout is what the model itself would write.
kld --quiet -m "$im/wide.gguf" -f "$text" -c 128 --chunks 24 --base "$work/ours" >/dev/null || fail "--base"
kld --quiet --base "$work/ours" --save-all-logits "$work/converted" >/dev/null || fail "converting"
cmp "$work/converted" "$work/wide.base" || fail "a converted base differs"
kld --quiet -t 1 --mem 100K -m "$im/wide.gguf" -f "$text" -c 128 --chunks 24 \
    --save-all-logits "$work/one" >/dev/null || fail "one thread"
cmp "$work/one" "$work/wide.base" || fail "threads or memory change the base file"

# ik_llama.cpp's files have a wider floor and nothing else to tell them by.
python3 - "$im/wide.base" "$work/ik.base" <<'P'
import struct, sys
b = bytearray(open(sys.argv[1], "rb").read())
n_ctx, n_vocab, n_chunk = struct.unpack_from("<iii", b, 8)
n_row = 8 + 4 * ((n_vocab + 1) // 2)
for at in range(20 + 4 * n_ctx * n_chunk, len(b), n_row):
    scale, floor = struct.unpack_from("<ff", b, at)
    q = struct.unpack_from("<%dH" % n_vocab, b, at + 8)
    top = floor + 65535 * scale
    wide = 24 / 65535
    struct.pack_into("<ff", b, at, wide, top - 24)
    struct.pack_into("<%dH" % n_vocab, b, at + 8,
                     *(min(65535, round((floor + scale * x - (top - 24)) / wide)) for x in q))
open(sys.argv[2], "wb").write(b)
P
kld --quiet --base "$work/ik.base" -q "$im/wide.Q4_0.gguf" --json "$work/ik.json" >/dev/null || fail "range 24"
python3 - "$work/ik.json" "$work/peers.json" <<'P' || fail "a base with a floor of 24"
import json, sys
ik, peers = (json.load(open(p)) for p in sys.argv[1:])
assert abs(ik["base"]["range"] - 24) < 1e-3
assert abs(ik["quants"][0]["kld"]["mean"]["value"] - peers["quants"][0]["kld"]["mean"]["value"]) < 1e-4
P
no_temporaries "$work"
echo ok
