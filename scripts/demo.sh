#!/usr/bin/env bash
# From a fresh machine to a judged set of quants: set up, build, calibrate, quantize, compare.
#   scripts/demo.sh [OUTPUT_DIR]     (default: build/demo)
# The model is a small one from testdata/, trained with a context of 256 tokens.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-build/demo}
model=testdata/tiny-qwen3.gguf
context=256
started=$SECONDS

step() { printf '\n== %s\n' "$*"; }
show() { printf '$ %s\n' "$*"; "$@"; }

step "1/5 packages"
scripts/setup.sh
step "2/5 build"
scripts/build.sh release
mkdir -p "$out"
PATH=$PWD/build/bin:$PATH

step "3/5 imatrix: what the weights see when the model reads the calibration text"
show imatrix -m "$model" -f testdata/calibration.txt -c "$context" -o "$out/imatrix.gguf"

step "4/5 quantize: the same model in several sizes"
quants=()
for type in Q2_K Q3_K_M Q4_K_M Q5_K_M Q8_0; do
    show quantize -q --imatrix "$out/imatrix.gguf" "$model" "$out/tiny-$type.gguf" "$type"
    quants+=(-q "$out/tiny-$type.gguf")
done

step "5/5 kld: how far each one is from its parent, on a text that calibration never saw"
show kld --summary -m "$model" "${quants[@]}" -f testdata/evaluation.txt -c "$context" \
    --json "$out/kld.json"

printf '\ndone in %d s; the files are in %s\n' "$((SECONDS - started))" "$out"
