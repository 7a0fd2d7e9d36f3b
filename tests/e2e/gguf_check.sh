#!/usr/bin/env bash
# gguf check: each option and what it prints. Faults are made with gguf set and unset.
. "$(dirname "$0")/lib.sh"
cd "$work" || exit 1
cp "$model" m.gguf

gguf check m.gguf >out || fail "a sound model"
grep -Eqx 'm.gguf: ok \([0-9]+ keys, [0-9]+ tensors\)' out || fail "said: $(cat out)"
gguf check --quick m.gguf | grep -q '; values not read)$' || fail "--quick"
gguf check --deep --strict m.gguf >out || fail "--deep --strict"
for n in 1 3; do
    gguf check --deep -t $n m.gguf | cmp - out || fail "other findings with $n threads"
done

gguf check --deep --mem 7M m.gguf | cmp - out || fail "other findings with --mem"
expect 4 "6.29 MB of memory are needed, --mem allows 1.00 MB" gguf check --mem 1M m.gguf

# The tokenizer, alone and as a part; warnings fail with --strict only.
gguf unset -q m.gguf tokenizer.ggml.eos_token_id -o no-eos.gguf >/dev/null || fail "unset"
gguf check no-eos.gguf >out || fail "a warning fails a file"
grep -q '^no-eos.gguf: tokenizer: warning: there is no eos_token_id' out || fail "no eos: $(cat out)"
grep -q ', 1 warning)$' out || fail "warnings are not counted"
gguf check --tokenizer no-eos.gguf | grep -q '1 warning; tokenizer only)$' || fail "--tokenizer"
expect 1 "1 warnings, and --strict" gguf check --tokenizer --strict no-eos.gguf
gguf set -q --force m.gguf tokenizer.chat_template='<|nobody|>' -o template.gguf >/dev/null || fail "set"
gguf check --tokenizer template.gguf |
    grep -q "the chat template has 1 marker that is no token, the first is '<|nobody|>'" || fail "template"
gguf set -q --force m.gguf qwen3.block_count=9 -o layers.gguf >/dev/null || fail "set"
expect 1 "1 errors in model and tokenizer" gguf check --quick layers.gguf
grep -q 'model: error: 3 of 9 layers (block_count) have no tensor, the first is layer 6' stdout || fail "layers"
gguf check -q --tokenizer layers.gguf >/dev/null || fail "--tokenizer looks at layers"

# JSON says the same.
expect 1 "1 errors" gguf check --json j.json layers.gguf no-eos.gguf
python3 - <<'P' || fail "--json"
import json
a, b = json.load(open("j.json"))["files"]
assert a["remarks"][0]["grade"] == "error" and a["remarks"][0]["part"] == "model"
assert b["remarks"][0]["grade"] == "warning" and b["findings"] == [] and b["values_checked"]
P
gguf check --json - m.gguf | python3 -m json.tool >/dev/null || fail "--json - is not JSON alone"

# Values: not finite, and with --deep zeros and bytes between tensors.
read -r offset size < <(python3 - <<'P'
import json, subprocess
j = json.loads(subprocess.check_output(["gguf", "show", "--json", "-", "m.gguf"]))
t = next(t for t in j["tensors"] if t["name"] == "blk.1.ffn_up.weight")
print(j["data_offset"] + t["offset"], t["size"])
P
)
cp m.gguf nan.gguf
printf '\300\177' | dd of=nan.gguf bs=1 seek="$offset" conv=notrunc status=none
expect 1 "1 of .* tensors hold values" gguf check nan.gguf
grep -q "tensor 'blk.1.ffn_up.weight': 1 non-finite value, the first in row 0, column 0" stdout || fail "NaN"
gguf check --quick nan.gguf >/dev/null || fail "--quick reads values"
cp m.gguf zeros.gguf
dd if=/dev/zero of=zeros.gguf bs=1M seek="$offset" count="$size" oflag=seek_bytes iflag=count_bytes conv=notrunc status=none
gguf check --strict zeros.gguf >/dev/null || fail "zeros without --deep"
gguf check --deep zeros.gguf | grep -q "tensor 'blk.1.ffn_up.weight': warning: all [0-9]* values are 0" || fail "zeros"
expect 1 "and --strict" gguf check --deep --strict zeros.gguf
expect 2 "exclude each other" gguf check --deep --quick m.gguf
expect 2 "exclude each other" gguf check --deep --tokenizer m.gguf
expect 2 "no file given" gguf check
if [ -d "${TAMIS_SHARED:-}/fixtures/gguf" ]; then
    for file in "$TAMIS_SHARED"/fixtures/gguf/valid/*.gguf; do
        gguf check -q --deep "$file" >out || fail "--deep $file: $(cat out)"
    done
    gguf check --tokenizer "$TAMIS_SHARED/fixtures/tokenizers/small-bpe-holes.gguf" >out || fail "holes"
    grep -q "1 of 7572 merges give no token, the first is 900 ('Q Z')" out || fail "a merge that gives none"
fi
no_temporaries .
