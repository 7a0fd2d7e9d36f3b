#!/usr/bin/env bash
# gguf diff and gguf show: each option and what it prints.
. "$(dirname "$0")/lib.sh"
cd "$work" || exit 1
cp "$model" a.gguf
quantize -q a.gguf q.gguf Q4_K_M || fail "quantize"

# A file and its copy; a parent and its quant.
gguf diff a.gguf a.gguf >out || fail "a file differs from itself"
grep -qx equal out || fail "not said to be equal"
expect 1 "'a.gguf' and 'q.gguf' differ" gguf diff --json d.json --top 3 a.gguf q.gguf
cp stdout out
grep -q '^  ~ general.file_type  u32  [0-9]* -> 15$' out || fail "a changed key"
grep -q '^  + quant\|^  + general.quantization_version  u32  2$' out || fail "an added key"
[ "$(grep -c ' -> .*%' out)" = 3 ] || fail "--top 3"
grep -q '^\.\.\. and [0-9]* more' out || fail "what --top leaves out"
[ "$(awk '{ if (length > n) n = length } END { print n }' out)" -le 130 ] || fail "wide lines"
python3 - <<'P' || fail "--json"
import json
d = json.load(open("d.json"))
assert d["equal"] is False and d["keys_equal"] > 5
changed = {k["key"]: k for k in d["keys"]}
assert changed["general.file_type"]["b"]["value"] == 15
worst = max((t for t in d["tensors"] if "rms_relative" in t), key=lambda t: t["rms_relative"])
assert worst["name"] in open("out").read().split("cosine\n")[1].split("\n")[0]
assert 0.01 < worst["rms_relative"] < 0.2 and worst["cosine"] > 0.98
norm = next(t for t in d["tensors"] if t["name"] == "output_norm.weight")
assert norm["same_bytes"] and norm["differing"] == 0 and norm["cosine"] == 1
assert d["total"]["elements"] == sum(t["elements"] for t in d["tensors"])
P
for n in 1 3; do
    gguf diff -q -t $n --all a.gguf q.gguf >all$n 2>/dev/null
done
gguf diff -q --mem 7M --all a.gguf q.gguf 2>/dev/null | cmp - all1 || fail "other numbers with --mem"
expect 4 "of memory are needed, --mem allows 1.00 MB" gguf diff --mem 1M a.gguf q.gguf
cmp all1 all3 || fail "other numbers with 3 threads"
[ "$(grep -c '%.*[01]\.[0-9]*$' all1)" = $(($(gguf show --json - a.gguf | grep -c '"ne":') + 1)) ] || fail "--all"
gguf diff --metadata-only a.gguf q.gguf 2>/dev/null | grep -q tensors: && fail "--metadata-only"
gguf diff --no-values a.gguf q.gguf >out 2>/dev/null
grep -q 'of another type' out && ! grep -q cosine out || fail "--no-values"

# One byte of one tensor; one key; a tensor less; the order of nothing.
read -r offset < <(python3 - <<'P'
import json, subprocess
j = json.loads(subprocess.check_output(["gguf", "show", "--json", "-", "a.gguf"]))
t = next(t for t in j["tensors"] if t["name"] == "blk.1.ffn_up.weight")
print(j["data_offset"] + t["offset"])
P
)
cp a.gguf b.gguf
printf '\001' | dd of=b.gguf bs=1 seek="$offset" conv=notrunc status=none
expect 1 differ gguf diff a.gguf b.gguf
grep -q '^blk.1.ffn_up.weight  *bf16 ' stdout || fail "the tensor of one byte"
[ "$(grep -c '^blk' stdout)" = 1 ] || fail "more than one tensor"
expect 2 "two files are needed" gguf diff a.gguf
expect 3 "cannot open 'none.gguf'" gguf diff a.gguf none.gguf
expect 2 "already a file of this run" gguf diff --json a.gguf a.gguf b.gguf
expect 1 differ gguf diff --json - a.gguf b.gguf
python3 -m json.tool stdout >/dev/null || fail "--json - is not JSON alone"
if [ -d "${TAMIS_SHARED:-}/fixtures/gguf" ]; then
    valid=$TAMIS_SHARED/fixtures/gguf/valid
    gguf diff "$valid/le-v3.gguf" "$valid/be-v3.gguf" >/dev/null || fail "byte orders differ"
    gguf diff "$valid/split-whole.gguf" "$valid/split-00003-of-00003.gguf" >out || fail "a split set differs"
    grep -q '+ split.count .*(layout)$' out || fail "layout keys"
    expect 1 differ gguf diff "$valid/v3.gguf" "$valid/dims.gguf"
    grep -q '^  - token_embd.weight ' stdout || fail "a tensor only in A"
    grep -q '^  + ' stdout || fail "a tensor only in B"
fi

# show: sums by type, kind and layer are those of the tensors; --filter, --layers, --key.
gguf show --json s.json q.gguf >out
python3 - <<'P' || fail "sums"
import json, collections
j = json.load(open("s.json"))
for division in ("types", "kinds", "layers"):
    rows = j["sums"][division]
    assert sum(r["tensors"] for r in rows) == len(j["tensors"]), division
    assert sum(r["size"] for r in rows) == sum(t["size"] for t in j["tensors"]), division
    for r in rows:
        assert abs(r["bits"] - 8 * r["size"] / r["weights"]) < 1e-9
        assert sum(r["types"].values()) == r["tensors"]
layers = collections.Counter(t["name"].split(".")[1] for t in j["tensors"] if t["name"].startswith("blk."))
have = {r["name"]: r["tensors"] for r in j["sums"]["layers"]}
assert have["blk.3"] == layers["3"] and len(have) == len(layers) + 1
kinds = {r["name"]: r for r in j["sums"]["kinds"]}
assert kinds["ffn"]["tensors"] == 3 * len(layers) and "experts" not in kinds
P
grep -q '^ffn  ' out && grep -q '^outside  ' out || fail "tables"
[ "$(awk '/^tensor /{t=1} t && length > n { n = length } END { print n }' out)" -le 100 ] || fail "more than 100 columns"
gguf show --no-metadata --no-tensors a.gguf | grep -q '^blk.0-5  ' || fail "a run of equal layers"
[ "$(gguf show --layers a.gguf | grep -c '^blk.[0-9]  ')" = 6 ] || fail "--layers"
gguf show --no-metadata a.gguf | grep -q general.name && fail "--no-metadata"
[ "$(gguf show --no-metadata --filter '*ffn_down*' a.gguf | grep -c '^blk.*weight ')" = 6 ] || fail "--filter"
[ "$(gguf show --filter '*ffn_down*' --json - a.gguf | grep -c '"ne":')" = 6 ] || fail "--filter --json"
expect 2 "a.gguf: no tensor matches 'ffn_dwn'" gguf show --filter ffn_dwn a.gguf
[ "$(gguf show --key general.architecture a.gguf)" = qwen3 ] || fail "--key"
[ "$(gguf show --key tokenizer.ggml.tokens a.gguf | wc -l)" -ge 8192 ] || fail "--key of an array"
gguf show --key qwen3.block_count --json - a.gguf | grep -q '"value":.*6' || fail "--key --json"
expect 2 "no key 'general.nmae' .did you mean 'general.name'" gguf show --key general.nmae a.gguf
gguf show --no-tensors --all a.gguf | grep -q ', \.\.\.\]' && fail "--all shortens"
no_temporaries .
