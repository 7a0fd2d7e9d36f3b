#!/usr/bin/env bash
# Multi-token prediction blocks from imatrix through quantize to kld, on a trained model of experts
# with one such block.
. "$(dirname "$0")/lib.sh"
model=$TAMIS_SHARED/models/tiny-qwen35moe.gguf
[ -f "$model" ] || skip "no reference models at $TAMIS_SHARED"
cd "$work" || exit 1
run=(imatrix -q -m "$model" -f "$calibration" -c 128 --chunks 6)

"${run[@]}" -o with.gguf -t 1 --json with.json >with.txt || fail imatrix
"${run[@]}" -o without.gguf --no-mtp --json without.json >without.txt || fail "--no-mtp"
cmp <(grep PPL with.txt) <(grep PPL without.txt) || fail "the blocks change the perplexity"
imatrix show -q --json a.json with.gguf >/dev/null && imatrix show -q --json b.json without.gguf >/dev/null ||
    fail "imatrix show"
python3 - <<'P' || fail "entries"
import json
with_, without = ({e["name"]: e for e in json.load(open(p))["entries"]} for p in ("a.json", "b.json"))
more = {n: e["counts"] for n, e in with_.items() if n not in without}
stems = ["attn_k", "attn_output", "attn_q", "attn_v", "ffn_down_exps", "ffn_down_shexp",
         "ffn_gate_exps", "ffn_gate_inp", "ffn_gate_inp_shexp", "ffn_gate_shexp", "ffn_up_exps",
         "ffn_up_shexp", "nextn.eh_proj"]
assert sorted(more) == [f"blk.4.{s}.weight" for s in stems], sorted(more)
# the last token of each of the 6 chunks of 128 has no next one; two experts a token
for name, counts in more.items():
    assert sum(counts) == 6 * 127 * (2 if "_exps" in name else 1), (name, counts)
assert not [n for n in without if n.startswith("blk.4.")]
assert all(with_[n]["counts"] == e["counts"] for n, e in without.items())
assert json.load(open("with.json"))["mtp_blocks"] == 1
assert json.load(open("without.json"))["mtp_blocks"] == 0
P
imatrix diff with.gguf without.gguf --json - | python3 -c '
import json, sys
d = json.load(sys.stdin)
both = [t["identical"] for t in d["tensors"] if t["in"] == "both"]
assert len(both) == 51 and all(both) and d["only_a"] == 13 and d["only_b"] == 0, d' ||
    fail "the blocks change the layers' entries"

# The same bytes from two threads, in little memory, and after a kill and --resume.
"${run[@]}" -o o.gguf -t 2 --no-ppl >/dev/null && cmp o.gguf with.gguf || fail "two threads"
"${run[@]}" -o o.gguf --mem 1M >/dev/null 2>&1 && cmp o.gguf with.gguf || fail "--mem"
rm o.gguf
"${run[@]}" -o o.gguf --checkpoint-every 0 >/dev/null 2>&1 &
pid=$!
while [ ! -e o.gguf.checkpoint ] && kill -0 $pid 2>/dev/null; do sleep 0.01; done
kill -9 $pid 2>/dev/null
wait $pid 2>/dev/null
[ -e o.gguf.checkpoint ] || fail "no checkpoint is left"
cp o.gguf.checkpoint kept
"${run[@]}" -o o.gguf --resume >again.txt && cmp o.gguf with.gguf && cmp again.txt with.txt ||
    fail "--resume"
mv kept o.gguf.checkpoint
"${run[@]}" -o o.gguf --resume --no-mtp >/dev/null && cmp o.gguf without.gguf ||
    fail "--resume with --no-mtp"
expect 2 "context of 1 tokens leaves nothing to predict .* use --ctx 2 or more" \
    imatrix -q -m "$model" -f "$calibration" -c 1 --chunks 8 -o one.gguf
imatrix -q -m "$model" -f "$calibration" -c 1 --chunks 8 -o one.gguf --no-mtp >/dev/null ||
    fail "-c 1 --no-mtp"

# Every type keeps the block, encoded with its own importance where the type has a use for it.
for type in Q2_K IQ2_XS Q4_K_M; do
    quantize -q --imatrix with.gguf --json plan.json "$model" "$type.gguf" $type 2>log.txt ||
        fail "$type: $(cat log.txt)"
    ! grep -q "no data" log.txt || fail "$type: $(cat log.txt)"
    python3 - "$type" <<'P' || fail "$type: the block"
import json, sys
tensors = [t for t in json.load(open("plan.json"))["tensors"] if t["name"].startswith("blk.4.")]
assert len(tensors) == 20 and sum("nextn" in t["name"] for t in tensors) == 4
bare = [t["name"] for t in tensors if t["type"] not in ("f32", "q8_0") and not t["importance"]]
assert not bare, bare
P
    gguf show "$type.gguf" | grep -q '^mtp  *4 ' || fail "$type: no block"
done
quantize -q --imatrix without.gguf "$model" o.gguf IQ2_XS 2>log.txt || fail "without the block's data"
grep -q "no data for .* tensors of the blocks that predict further tokens" log.txt ||
    fail "lacking data is not said"

# The block of a trained model drafts well, its quants' less so; a wrong wiring would be near chance.
kld --quiet -m "$model" -q Q4_K_M.gguf -q Q2_K.gguf -f "$evaluation" -c 128 --chunks 12 --mtp \
    --json kld.json >/dev/null || fail "kld --mtp"
python3 - <<'P' || fail "kld --mtp"
import json
r = json.load(open("kld.json"))
good, bad = (q["mtp"][0] for q in r["quants"])
parent = r["parent"]["mtp"][0]
assert parent["acceptance"]["value"] > 45, parent
assert parent["ppl"]["value"] < 1.2 * r["parent"]["ppl"]["value"], parent
assert good["kld"]["mean"]["value"] < 0.03 < bad["kld"]["mean"]["value"] < 0.4
assert abs(good["acceptance_difference"]["value"]) < 4
assert bad["acceptance"]["value"] > 35
P
no_temporaries "$work"
echo ok
