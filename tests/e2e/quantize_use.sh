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
