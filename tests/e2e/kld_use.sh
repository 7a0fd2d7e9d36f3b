#!/usr/bin/env bash
# The kld tool on sound input: the peer's numbers, exact zeros, base files, threads, memory, tokens.
. "$(dirname "$0")/lib.sh"
fixtures=$TAMIS_SHARED/fixtures
[ -d "$fixtures/imatrix" ] || skip "no reference fixtures at $TAMIS_SHARED"
im=$fixtures/imatrix
text=$im/eval.txt

# against MODEL TYPE CHUNKS: the lines of the peer's table, within what its 16 bits a value allow.
against() {
    kld --quiet -m "$im/$1.gguf" -q "$im/$1.$2.gguf" -f "$text" -c 128 --chunks "$3" \
        >"$work/out" || fail "$1 $2"
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
    name, value, error = line.split("\t")[:3]
    near = lambda a, b: abs(a - b) <= 3e-5 + (1e-3 if "%" in line else 0) + 1e-3 * abs(b)
    assert near(ours[name][0], float(value)), (name, ours[name][0], value)
    # the error of a difference of nearly equal values is sensitive to the last digits
    assert not error or abs(ours[name][1] - float(error)) <= 1e-3 + 1e-2 * float(error), (name, error)
P
}
against wide Q4_0 24
against wide Q4_K_M 24
against idle-expert Q4_0 20

# A model against itself: exactly 0 everywhere.
run="--quiet -c 128 --chunks 12"
kld $run -m "$im/wide.gguf" -q "$im/wide.gguf" -f "$text" --json - >"$work/self.json" || fail "self"
python3 - "$work/self.json" <<'P' || fail "a model against itself"
import json, sys
q = json.load(open(sys.argv[1]))["quants"][0]
zero = {"value": 0, "uncertainty": 0}
for group in (q["kld"], q["dp"], {k: q[k] for k in ("ln_ppl_ratio", "ppl_difference")}):
    for key, item in group.items():
        assert {k: item[k] for k in zero} == zero, (key, item)
assert q["ppl_ratio"]["value"] == 1 and q["same_top"]["value"] == 100
P

# The same JSON from 1 and 2 threads, in little memory, from the base file, with the text beside it.
both="-q $im/wide.Q4_0.gguf -q $im/wide.Q4_K_M.gguf"
kld $run -m "$im/wide.gguf" $both -f "$text" -t 1 --json "$work/1.json" --base "$work/b" >"$work/1" ||
    fail "-t 1"
same() { # NAME ARGUMENTS...
    local name=$1
    shift
    kld --quiet $both "$@" --json "$work/2.json" >"$work/2" || fail "$name"
    cmp "$work/1.json" "$work/2.json" && cmp "$work/1" "$work/2" || fail "$name: other results"
}
same "two threads" -c 128 --chunks 12 -m "$im/wide.gguf" -f "$text" -t 2
same "little memory" -c 128 --chunks 12 -m "$im/wide.gguf" -f "$text" --mem 100K
same "from the base" --base "$work/b"
same "from the base, one thread, little memory" --base "$work/b" -t 1 --mem 100K
same "from the base, with the text" --base "$work/b" -f "$text" -c 128 --chunks 12 --score llama
same "from the base, with the parent" --base "$work/b" -m "$im/wide.gguf" -f "$text"
[ "$(grep -c '^wide' "$work/1")" = 5 ] || fail "two headings and a table of three lines expected"
kld --quiet $both --base "$work/b" --summary | diff - <(tail -n 4 "$work/1") || fail "--summary"

# Perplexity alone, from the model and from the base; all positions.
kld $run -m "$im/wide.gguf" -f "$text" >"$work/ppl" || fail "perplexity"
kld --quiet --base "$work/b" | cmp - "$work/ppl" || fail "perplexity from the base"
grep -q "PPL = $(python3 -c "import json; print('%.4f' % json.load(open('$work/1.json'))['parent']['ppl']['value'])")" \
    "$work/ppl" || fail "perplexity differs from the comparison's"
kld $run -m "$im/wide.gguf" -f "$text" --score all | grep -q " (1524 positions of 12 chunks" ||
    fail "--score all"

# Raw ids and raw logits, against another engine's.
for m in llama qwen2 qwen3 qwen3moe; do
    kld --quiet -m "$fixtures/arch/$m.gguf" --tokens "$fixtures/arch/$m.tokens" \
        --dump-logits "$work/logits" || fail "--dump-logits $m"
    python3 - "$work/logits" "$fixtures/arch/$m.logits.f32" <<'P' || fail "logits of $m"
import array, sys
a, b = (array.array("f", open(p, "rb").read()) for p in sys.argv[1:])
top = max(abs(x) for x in b)
assert len(a) == len(b) and max(abs(x - y) for x, y in zip(a, b)) < 2e-4 * top
P
done
kld --quiet -m "$fixtures/arch/qwen3.gguf" --tokens "$fixtures/arch/qwen3.tokens" |
    grep -q "(47 positions of 1 chunks of 96 tokens)" || fail "--tokens"
no_temporaries "$work"
echo ok

# -1 chunks are all, as other tools spell it.
head -c 3000 "$text" >"$work/short.txt"
one=(kld --quiet --ppl -m "$im/wide.gguf" -f "$work/short.txt" -c 64)
[ "$("${one[@]}" --chunks -1)" = "$("${one[@]}")" ] || fail "--chunks -1"
[ "$("${one[@]}" --chunks 2)" != "$("${one[@]}")" ] || fail "--chunks 2"
