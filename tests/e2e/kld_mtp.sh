#!/usr/bin/env bash
# kld --mtp: a model against itself, the same results from a base file, threads and little memory,
# what is printed and what is refused.
. "$(dirname "$0")/lib.sh"
fixtures=$TAMIS_SHARED/fixtures/arch
parent=$fixtures/glm4moe.gguf
[ -f "$parent" ] || skip "no reference fixtures at $TAMIS_SHARED"
cd "$work" || exit 1
ids=$fixtures/glm4moe.tokens
quantize -q "$parent" q.gguf Q8_0 2>/dev/null || fail quantize
run=(--quiet -m "$parent" --tokens "$ids" -c 24 --mtp)

# A model against itself: no divergence, and the acceptances are one number.
kld "${run[@]}" -q "$parent" --json self.json >/dev/null || fail "self"
kld "${run[@]}" -q q.gguf -q "$parent" --json 1.json -t 1 --base b >1 || fail "-q"
kld "${run[@]}" --json parent.json >parent || fail "the parent alone"
python3 - <<'P' || fail "values"
import json
self, two, parent = (json.load(open(p)) for p in ("self.json", "1.json", "parent.json"))
m = self["quants"][0]["mtp"][0]
# 4 chunks of 24, scored 12 .. 22, one fewer for the block
assert self["n_positions"] == 44 and m["n_positions"] == 40 and m["block"] == 1, m
assert all(v["value"] == 0 for v in m["kld"].values()) and m["same_top"]["value"] == 100
assert m["acceptance"] == m["acceptance_base"] and m["acceptance_difference"]["value"] == 0
assert m["ppl"] == m["ppl_base"]
q, again = (x["mtp"][0] for x in two["quants"])
assert again == m
assert 0 < q["kld"]["mean"]["value"] < 0.1 and q["kld"]["mean"]["value"] != two["quants"][0]["kld"]["mean"]["value"]
assert q["acceptance_base"] == m["acceptance"] == parent["parent"]["mtp"][0]["acceptance"]
assert two["parent"]["mtp"] == self["parent"]["mtp"]
p = parent["parent"]["mtp"][0]
assert abs(p["ppl"]["value"] / m["ppl_base"]["value"] - 1) < 1e-6 and p["n_positions"] == 40
P
grep -q "^multi-token prediction, block 1: .* of drafts accepted, PPL = .*(40 positions)" parent ||
    fail "the parent alone: $(cat parent)"
[ "$(grep -c '====== Multi-token prediction, block 1: 40 positions' 1)" = 2 ] || fail "blocks of lines"
[ "$(sed -n '/^multi-token prediction, block 1$/,$p' 1 | wc -l)" = 5 ] || fail "the table"

# The same from two threads, in little memory, from the base, and from the base in little memory.
same() { # NAME ARGUMENTS...
    local name=$1
    shift
    kld --quiet -q q.gguf -q "$parent" --mtp "$@" --json 2.json >2 || fail "$name"
    cmp 1.json 2.json && cmp 1 2 || fail "$name: other results"
}
same "two threads" -m "$parent" --tokens "$ids" -c 24 -t 2
same "little memory" -m "$parent" --tokens "$ids" -c 24 --mem 10K 2>/dev/null
same "from the base" --base b
same "from the base, one thread, little memory" --base b -t 1 --mem 10K 2>/dev/null
kld --quiet --base b --mtp >2 && cmp parent 2 || fail "the parent from the base"

# The base serves without --mtp too, and the block changes nothing else.
kld --quiet -m "$parent" --tokens "$ids" -c 24 -q q.gguf --json plain.json --base plain >plain.txt ||
    fail "without --mtp"
kld --quiet --base b -q q.gguf --json 2.json >2 && cmp plain.txt 2 && cmp plain.json 2.json ||
    fail "the base without --mtp"
python3 - <<'P' || fail "--mtp changes other values"
import json
a, b = json.load(open("plain.json")), json.load(open("1.json"))
q = b["quants"][0]
del q["mtp"], b["parent"]["mtp"]
b["quants"] = [q]
assert a == b
P

# All positions, and a context in which one position is left.
kld --quiet -m "$parent" --tokens "$ids" -c 24 --mtp --score all | grep -q "(88 positions)" ||
    fail "--score all"
kld --quiet -m "$parent" --tokens "$ids" -c 5 --mtp | grep -q "(19 positions)" || fail "-c 5"
expect 2 "no position to score for multi-token prediction block 1; use --ctx 5 or more" \
    kld --quiet -m "$parent" --tokens "$ids" -c 4 --mtp
expect 2 "no position to score for multi-token prediction block 1; use --ctx 3 or more" \
    kld --quiet -m "$parent" --tokens "$ids" -c 2 --mtp --score all

# What has no such blocks.
dense=$fixtures/qwen3.gguf
expect 3 "qwen3.gguf has no multi-token prediction blocks; leave --mtp out" \
    kld --quiet -m "$dense" --tokens "$fixtures/qwen3.tokens" --mtp
expect 3 "base holds nothing of multi-token prediction; write it again with --mtp" \
    kld --quiet --base plain -q q.gguf --mtp
quantize -q --prune-layers 4 "$parent" trunk.gguf Q8_0 2>/dev/null || fail "--prune-layers"
expect 3 "trunk.gguf has 0 multi-token prediction blocks, its parent glm4moe.gguf has 1" \
    kld "${run[@]}" -q trunk.gguf
kld --quiet -m "$parent" --tokens "$ids" -c 24 -q trunk.gguf --json 2.json >/dev/null &&
    python3 - <<'P' || fail "a quant without the block is another model"
import json
a, b = json.load(open("plain.json"))["quants"][0], json.load(open("2.json"))["quants"][0]
assert a["kld"] == b["kld"]
P
kld --quiet -m "$parent" --tokens "$ids" -c 24 --save-all-logits llama.base >/dev/null || fail "llama base"
expect 2 "base file of llama-perplexity holds nothing of multi-token prediction" \
    kld --quiet --base llama.base -q q.gguf --mtp
expect 2 "not with --ppl" kld "${run[@]}" --ppl
expect 2 "not with --dump-logits" kld "${run[@]}" --dump-logits logits
no_temporaries "$work"
echo ok
