#!/usr/bin/env bash
# docs/keys.md against real results: every key that a tool adds or changes stands on the page with
# its type, and every key of the page is written by one of these runs.
. "$(dirname "$0")/lib.sh"
page=$TAMIS_SOURCE/docs/keys.md
cd "$work" || exit 1
head -c 6000 "$evaluation" >text.txt
cp "$model" model.gguf
touch none
written=$work/written

# note FILE [INPUT]: appends "key type" of all keys of FILE that INPUT does not have, or has with
# another value.
note() {
    python3 - "$TAMIS_SOURCE/tests" "$@" >>"$written" <<'P'
import sys
sys.path.insert(0, sys.argv[1])
sys.dont_write_bytecode = True
import compare_gguf
names = {0: "u8", 2: "u16", 4: "u32", 5: "i32", 6: "f32", 7: "bool", 8: "str", 10: "u64"}
def name(kind, value):
    return f"arr[{names[value[0]]}]" if kind == 9 else names[kind]
keys = compare_gguf.read(sys.argv[2])["keys"]
old = compare_gguf.read(sys.argv[3])["keys"] if len(sys.argv) > 3 else {}
for key, (kind, value, _) in keys.items():
    if key not in old or old[key][:2] != (kind, value):
        print(key, name(kind, value))
P
}

imatrix -q -m model.gguf -f text.txt -c 64 --chunks 2 -o im.gguf >/dev/null || fail imatrix
note im.gguf
imatrix merge -q -o merged.gguf im.gguf im.gguf || fail "imatrix merge"
note merged.gguf
quantize -q --imatrix im.gguf model.gguf out.gguf Q4_K_M || fail quantize
note out.gguf model.gguf
gguf set -q --force -o further.gguf model.gguf qwen3.nextn_predict_layers=u32:1 >/dev/null
quantize -q --imatrix im.gguf --exclude-weights blk.5. further.gguf out.gguf Q4_K_M 2>/dev/null ||
    fail "quantize, without importance of a further block"
note out.gguf further.gguf
imatrix -q -m $TAMIS_SHARED/fixtures/imatrix/idle-expert.gguf -f text.txt -c 64 --chunks 1 --no-ppl \
    --all-experts -o all.gguf >/dev/null || fail "imatrix --all-experts"
note all.gguf
few=$TAMIS_SHARED/fixtures/imatrix/idle-expert
quantize -q --imatrix $few.c128.gguf $few.gguf few.gguf Q4_0 2>/dev/null || fail "quantize, idle expert"
note few.gguf $few.gguf
quantize -q --protect model.gguf safe.gguf Q4_K_M || fail "quantize --protect"
note safe.gguf model.gguf
quantize -q --sha256 model.gguf hashed.gguf Q8_0 || fail "quantize --sha256"
note hashed.gguf model.gguf
quantize -q --shard-tensors 40 model.gguf parts.gguf Q8_0 || fail "quantize --shard-tensors"
for file in parts*-of-*.gguf; do
    note "$file" model.gguf
done
gguf split -q --max-tensors 40 model.gguf split || fail "gguf split"
for file in split-*.gguf; do
    note "$file" model.gguf
done
gguf merge -q split-00001-of-00002.gguf whole.gguf || fail "gguf merge"
note whole.gguf model.gguf
LC_ALL=C sort -u "$written" >have

sed -n 's/^| `\([a-z0-9_.]*\)` | \([a-z0-9\[\]*\]*\) |.*/\1 \2/p' "$page" | LC_ALL=C sort -u >page
[ -s page ] || fail "no keys on the page"
missing=$(LC_ALL=C comm -23 have page)
[ -z "$missing" ] || fail "written, but not on the page: $missing"
stale=$(LC_ALL=C comm -13 have page)
[ -z "$stale" ] || fail "on the page, but not written: $stale"
echo "$(wc -l <have) keys"
