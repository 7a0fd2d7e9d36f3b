#!/usr/bin/env bash
# quantize as people call it: argument order, names and numbers of types, a dry run that is exact,
# the same bytes from one and two threads, JSON.
set -eu
[ -d "$TAMIS_SHARED/models" ] || { echo "skipped: no reference models"; exit 77; }
quantize=$TAMIS_BIN/quantize
dir=$(mktemp -d) && trap 'rm -rf "$dir"' EXIT
cd "$dir"
cp "$TAMIS_SHARED/models/tiny-qwen3.gguf" m.gguf

"$quantize" -q m.gguf q4_k_m
[ -f ggml-model-Q4_K_M.gguf ]
"$quantize" -q m.gguf by-number.gguf 15 1
"$quantize" -q m.gguf two.gguf Q4_K 2
"$quantize" -q -t 1 m.gguf one.gguf Q4_K
cmp one.gguf two.gguf
cmp by-number.gguf two.gguf

# options may stand anywhere
"$quantize" m.gguf --quiet o.gguf --tensor-type 'ffn_(up|gate)=q5_K' Q4_K_S
"$quantize" --quiet --tensor-type 'ffn_(up|gate)=q5_K' m.gguf p.gguf Q4_K_S
cmp o.gguf p.gguf

# a dry run writes nothing and knows the size to the byte
ls >before
"$quantize" --dry-run m.gguf Q5_K_M >plan.txt
ls | grep -v plan.txt | cmp - before
"$quantize" -q --json run.json m.gguf q5.gguf Q5_K_M
bytes=$(stat -c %s q5.gguf)
grep -q "the file: $bytes bytes" plan.txt
grep -q "\"file_bytes\":[[:space:]]*$bytes" run.json
grep -q 'blk.0.attn_q.weight .*bf16 -> q5_K' plan.txt

# nvfp4: a scale beside each weight, exact beforehand too, and a weight that is not a copy of it
"$quantize" --dry-run m.gguf NVFP4 >plan.txt
"$quantize" -q --json run.json m.gguf nvfp4.gguf NVFP4
grep -q "the file: $(stat -c %s nvfp4.gguf) bytes" plan.txt
grep -q 'blk.0.attn_q.scale .*f32 .*made' plan.txt
grep -q 'token_embd.weight .*bf16 -> q6_K' plan.txt
[ "$("$TAMIS_BIN/gguf" show nvfp4.gguf | grep -c '^blk.*\.scale .* f32 ')" = 42 ]
[ "$("$TAMIS_BIN/gguf" show nvfp4.gguf | grep -c '^blk.*\.weight .* nvfp4 ')" = 42 ]
python3 - <<'P'
import json
tensors = {t["name"]: t for t in json.load(open("run.json"))["tensors"]}
scale, weight = tensors["blk.0.attn_q.scale"], tensors["blk.0.attn_q.weight"]
assert "source_type" not in scale and scale["source_bytes"] == 0 and scale["bytes"] == 4, scale
assert weight["source_type"] == "bf16" and 0 < weight["relative_error"] < 0.12, weight
P
"$quantize" -q --allow-requantize nvfp4.gguf wide.gguf F32
! "$TAMIS_BIN/gguf" show wide.gguf | grep -q '\.scale '
"$quantize" -q --tensor-type 'blk.1.ffn_down=nvfp4' m.gguf one.gguf Q8_0
[ "$("$TAMIS_BIN/gguf" show one.gguf | grep -c '\.scale ')" = 1 ]

# what is not a terminal gets plain lines; quiet gets none
"$quantize" m.gguf q8.gguf Q8_0 2>log.txt
! grep -q "$(printf '[\r\033]')" log.txt
[ -z "$("$quantize" -q m.gguf q8.gguf Q8_0 2>&1)" ]

# from a quantized file only when asked; a type that stays is copied bit for bit
"$quantize" -q --allow-requantize q8.gguf again.gguf Q4_0
"$quantize" -q q8.gguf copy.gguf Q8_0
"$quantize" -q q8.gguf copy2.gguf COPY
[ "$(stat -c %s copy.gguf)" = "$(stat -c %s copy2.gguf)" ]
"$quantize" --help | grep -q 'Q4_K_M'
"$quantize" --version | grep -q '[0-9]'
