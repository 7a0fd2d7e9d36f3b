#!/usr/bin/env bash
# Experts that saw few tokens: they are listed on the terminal and in the JSON, recorded in the
# result, and their bytes change; --no-borrow turns that off; other experts' lists stay empty.
. "$(dirname "$0")/lib.sh"
cd "$work" || exit 1
fixtures=$TAMIS_SHARED/fixtures/imatrix
parent=$fixtures/idle-expert.gguf # expert 5 of each of 4 layers sees no token

borrowers() { # of a result, one a line
    gguf show --json - -q "$1" | python3 -c 'import json, sys
for kv in json.load(sys.stdin)["metadata"]:
    if kv["key"] == "tamis.imatrix.borrowers": print("\n".join(kv["value"]["values"]))'
}

for layout in gguf dat; do
    quantize --json $layout.json --imatrix "$fixtures/idle-expert.c128.$layout" "$parent" \
        $layout.gguf IQ4_NL 2>said || fail "quantize with .$layout"
    grep -q "experts that saw fewer than 32 tokens" said || fail ".$layout: nothing is said"
    [ "$(grep -c 'layer [0-3]: expert (tokens) 5 (0)$' said)" = 4 ] || fail ".$layout: lines per layer"
    python3 - $layout.json <<'P' || fail ".$layout: JSON"
import json, sys
d = json.load(open(sys.argv[1]))
rows = {t["name"]: t["borrowers"] for t in d["tensors"] if "borrowers" in t}
assert d["borrowers"] == 12 and len(rows) == 12, rows
assert all(r == [{"expert": 5, "tokens": 0}] and "_exps" in n for n, r in rows.items()), rows
P
    borrowers $layout.gguf >list
    [ "$(wc -l <list)" = 12 ] && grep -qx 'blk.2.ffn_up_exps.weight=5:0' list ||
        fail ".$layout: the key says $(cat list)"
done

quantize --no-borrow --imatrix "$fixtures/idle-expert.c128.gguf" "$parent" alone.gguf IQ4_NL 2>said ||
    fail "--no-borrow"
grep -q "fewer than 32" said && fail "--no-borrow lists experts"
[ -z "$(borrowers alone.gguf)" ] || fail "--no-borrow writes the key"
gguf show --json - -q alone.gguf | grep -q -- '--no-borrow' || fail "--no-borrow is not recorded"
gguf diff gguf.gguf alone.gguf >differences
grep -q 'blk.0.ffn_down_exps.weight' differences || fail "borrowing changes no expert"
grep -q 'blk.0.attn_q.weight' differences && fail "borrowing changes what has no experts"

# stale: the key does not outlive another run, and a full matrix borrows nothing
quantize -q --allow-requantize gguf.gguf again.gguf Q8_0 || fail "quantize again"
[ -z "$(borrowers again.gguf)" ] || fail "the key of the parent stayed"
quantize --imatrix "$fixtures/mixtral.c128.gguf" "$TAMIS_SHARED/fixtures/arch/mixtral.gguf" full.gguf \
    IQ4_NL 2>said || fail "quantize of a full matrix"
grep -q "fewer than 32" said && fail "a full matrix lists experts"
exit 0
