#!/usr/bin/env bash
# gguf show --arch: the table of every reference model against a recorded one (tests/gguf_arch.txt,
# held against the reference's descriptions by eye), its JSON against the tensors themselves.
. "$(dirname "$0")/lib.sh"
cd "$work" || exit 1

# a model whose tables are at hand without the fixtures
gguf show --arch "$model" >table.txt || fail "--arch"
[ "$(grep -c '^0-5 * attention * 4/2 x 64 * 768 * .*bf16$' table.txt)" = 1 ] || fail "$(cat table.txt)"
! grep -q '^key  \|^tensor  \|^kind  ' table.txt || fail "--arch prints other tables: $(cat table.txt)"
gguf show --arch --layers "$model" >table.txt
[ "$(grep -c '^[0-5] * attention' table.txt)" = 6 ] || fail "--layers: $(cat table.txt)"
quantize -q "$model" q.gguf Q4_K_M || fail quantize
gguf show --arch q.gguf >table.txt
[ "$(grep -c '^\(0-1\|2\|3-4\|5\) .* q4_K\( q6_K\)\?$' table.txt)" = 4 ] || fail "rows of other types are joined: $(cat table.txt)"
expect 2 "--arch and --key exclude each other" gguf show --arch --key general.name "$model"
expect 2 "--arch and --filter exclude each other" gguf show --arch --filter '*' "$model"

python3 - "$TAMIS_SOURCE/tests" <<'P'
import sys
sys.path.insert(0, sys.argv[1])
sys.dont_write_bytecode = True
from make_gguf import bf16, f32, text_key, u32, write
write("mm.gguf", "clip", [bf16("v.blk.0.attn_q.weight", 32, 8)], [text_key("general.type", "mmproj")])
write("none.gguf", "llama", [bf16("token_embd.weight", 32, 8)])
# no key says anything: what the tensors say is shown; families that no tool runs
write("mamba.gguf", "mamba", [bf16("blk.0.ssm_in.weight", 32, 8), bf16("blk.0.ssm_out.weight", 32, 8)])
write("lfm2.gguf", "lfm2", [bf16("blk.0.shortconv.conv.weight", 3, 8), bf16("blk.0.ffn_down.weight", 16, 8),
                            bf16("blk.1.attn_q.weight", 32, 32), bf16("blk.1.attn_k.weight", 32, 16)],
      [u32("lfm2.attention.head_count", 4), u32("lfm2.attention.head_count_kv", 2)])
write("old.gguf", "llama", [bf16(f"blk.0.ffn_down.{e}.weight", 16, 8) for e in range(4)] +
      [bf16("blk.0.attn_q.weight", 32, 32)], [u32("llama.expert_used_count", 2), u32("llama.expert_count", 4)])
P
expect 3 "mm.gguf: there are no layers to describe.*projector file" gguf show --arch mm.gguf
expect 3 "none.gguf: there are no layers to describe" gguf show --arch none.gguf
gguf show --arch mamba.gguf | grep -q '^0  *state space  *-  *-  ' || fail "mamba: $(gguf show --arch mamba.gguf)"
gguf show --arch lfm2.gguf >table.txt
grep -q '^0  *short conv  *-  *16 ' table.txt && grep -q '^1  *attention  *4/2 x 8  *-  ' table.txt || fail "$(cat table.txt)"
gguf show --arch old.gguf | grep -q '^0  *attention .*2/4 x 16 ' || fail "experts of old files"
[ -d "${TAMIS_SHARED:-}/fixtures/arch" ] || skip "no reference models"

for file in "$TAMIS_SHARED"/fixtures/arch/*.gguf; do
    echo "== $(basename "$file" .gguf)"
    gguf show --arch "$file" | sed -n '/^width/,$p'
done >have.txt
diff "$TAMIS_SOURCE/tests/gguf_arch.txt" have.txt >diff.txt || fail "tables differ: $(cat diff.txt)"
[ "$(wc -L <have.txt)" -le 80 ] || fail "wider than 80 columns"

python3 - "$TAMIS_SHARED" <<'P' || fail "JSON"
import glob, json, subprocess, sys
def show(*arguments):
    return json.loads(subprocess.run(["gguf", "show", "--json", "-", *arguments], capture_output=True).stdout)
for path in glob.glob(sys.argv[1] + "/fixtures/arch/*.gguf"):
    arch, whole = show("--arch", path), show(path)
    keys = {k["key"].split(".", 1)[1]: k["value"] for k in whole["metadata"] if k["key"].startswith(arch["architecture"] + ".")}
    layers = arch["layers"]
    assert [x["layer"] for x in layers] == list(range(keys["block_count"])), path
    assert sum(x["mtp"] for x in layers) == keys.get("nextn_predict_layers", 0), path
    for x in layers:
        mine = [t for t in whole["tensors"] if t["name"].startswith(f"blk.{x['layer']}.")]
        assert x["tensors"] == len(mine) and x["size"] == sum(t["size"] for t in mine), (path, x)
        assert set(x["types"]) == {t["type"] for t in mine if len(t["ne"]) > 1}, (path, x)
        assert x.get("experts", 0) in (0, keys.get("expert_count")), (path, x)
        assert x.get("window", 0) in (0, keys.get("attention.sliding_window")), (path, x)
        has_delta = any("ssm_a" in t["name"] for t in mine)
        assert (x["mixer"] == "delta net") == has_delta, (path, x)
        assert (x["mixer"] == "latent") == any("attn_kv_a_mqa" in t["name"] for t in mine), (path, x)
P
echo "$(grep -c '^==' have.txt) models"
