#!/usr/bin/env bash
# Near relatives, made of the trained model, against llama-perplexity, live: its perplexity and its
# distributions on F32 weights. Families without reference values of their own stand or fall here.
# Needs TAMIS_PEER, a folder with llama-perplexity; skipped without it.
. "$(dirname "$0")/lib.sh"
[ -n "${TAMIS_PEER:-}" ] && [ -x "$TAMIS_PEER/llama-perplexity" ] || skip "TAMIS_PEER is not set"
cd "$work" || exit 1
python3 - "$TAMIS_SOURCE/tests" "$model" <<'P'
import sys
sys.path.insert(0, sys.argv[1])
sys.dont_write_bytecode = True
from derive_gguf import derive
from make_gguf import array, f32
def without_norms(name):
    return None if "_q_norm" in name or "_k_norm" in name else name
def seed(name):
    return without_norms(name.replace("ffn_norm", "post_attention_norm"))
biases = [f32(f"blk.{i}.attn_{part}.bias", n) for i in range(6) for part, n in (("q", 256), ("k", 128), ("v", 128))]
derive(sys.argv[2], "seed_oss.gguf", "seed_oss", seed, (), biases)
derive(sys.argv[2], "qwen2.gguf", "qwen2", without_norms, (), biases)
derive(sys.argv[2], "qwen3vl.gguf", "qwen3vl", lambda name: name,
       [array("qwen3vl.rope.dimension_sections", "i", 5, [12, 10, 10, 0])])
P
for name in seed_oss qwen2 qwen3vl; do
    quantize -q --no-self-check $name.gguf f32.gguf F32 || fail "quantize $name"
    peer=
    for _ in 1 2 3 4; do # it may lose its last lines at its end
        rm -f peer.base
        "$TAMIS_PEER/llama-perplexity" -nr -m f32.gguf -ctk f32 -ctv f32 -fa off -f "$evaluation" -c 256 \
            --chunks 4 --save-all-logits peer.base >peer.txt 2>&1
        peer=$(sed -n 's/.*Final estimate: PPL = \([0-9.]*\).*/\1/p' peer.txt)
        [ -z "$peer" ] || break
    done
    ours=$(kld --ppl -m f32.gguf -f "$evaluation" -c 256 --chunks 4 | sed -n 's/.*Final estimate: PPL = \([0-9.]*\).*/\1/p')
    kld --quiet --json run.json --base peer.base -q f32.gguf >/dev/null || fail "kld $name"
    python3 - "$name" "$ours" "$peer" <<'P' || fail "$name: perplexity $ours, the peer's $peer"
import json, sys
kld = json.load(open("run.json"))["quants"][0]["kld"]
mean, largest = abs(kld["mean"]["value"]), kld["max"]["value"]
print(f"{sys.argv[1]}: perplexity {sys.argv[2]}, the peer's {sys.argv[3]}; KLD mean {mean:.6f}, max {largest:.6f}")
sys.exit(not (abs(float(sys.argv[2]) / float(sys.argv[3]) - 1) < 2e-5 and mean < 1e-4 and largest < 1e-3))
P
done
