#!/usr/bin/env bash
# The same bytes from every compiler, optimisation, CPU level and thread count: builds the tools
# four times (gcc and clang 14, -O2 and -O3) in build-same/ and compares all they write.
#   scripts/same_bytes.sh            everything
#   scripts/same_bytes.sh TYPE...    only these types of quantize, beside imatrix and kld
set -euo pipefail
cd "$(dirname "$0")/.."
model=testdata/tiny-qwen3.gguf
types=("$@")
[ $# -gt 0 ] || types=(F32 F16 BF16 Q8_0 Q4_0 Q4_1 Q5_0 Q5_1 Q2_K Q3_K_S Q4_K_S Q5_K_S Q6_K
                       IQ4_NL IQ4_XS Q2_K_S Q3_K_M Q4_K_M)
variants=(gcc-O2 gcc-O3 clang-14-O2 clang-14-O3)
levels=(plain avx2 avx512) # a level that this machine lacks falls back to the best it has

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
declare -A first # what was made -> hash of the first that made it, and who that was
n_compared=0
n_different=0

# same WHAT WHO FILE: FILE must be what the first with the same WHAT wrote.
same() {
    local hash
    hash=$(sha256sum <"$3")
    n_compared=$((n_compared + 1))
    if [ -z "${first[$1]:-}" ]; then
        first[$1]="$hash $2"
    elif [ "${first[$1]%% *}" != "${hash%% *}" ]; then
        echo "different: $1: $2 is not ${first[$1]##* }"
        n_different=$((n_different + 1))
    fi
}

for variant in "${variants[@]}"; do
    echo "same_bytes: building $variant"
    cmake -B "build-same/$variant" -G Ninja -DTAMIS_BUILD_TESTS=OFF -DTAMIS_WERROR=ON \
        -DCMAKE_BUILD_TYPE=Release -DCMAKE_C_COMPILER="${variant%-O?}" \
        -DCMAKE_C_FLAGS_RELEASE="-O${variant#*-O} -DNDEBUG" >/dev/null
    cmake --build "build-same/$variant" >"$work/log" || { cat "$work/log" >&2; exit 1; }
done

# Inputs of the later steps come from the first variant, so that one difference is reported once.
base=build-same/${variants[0]}/bin
"$base/imatrix" -q -m "$model" -f testdata/calibration.txt -c 256 --chunks 8 \
    -o "$work/imatrix.gguf" >/dev/null
"$base/quantize" -q "$model" "$work/quant.gguf" Q3_K_M

for variant in "${variants[@]}"; do
    bin=build-same/$variant/bin
    echo "same_bytes: running $variant"
    for level in "${levels[@]}"; do
        export TAMIS_CPU=$level
        for n_threads in 1 2; do
            who=$variant/$level/$n_threads-threads
            "$bin/imatrix" -q -m "$model" -f testdata/calibration.txt -c 256 --chunks 4 \
                -t $n_threads -o "$work/out" >"$work/text"
            same imatrix "$who" "$work/out"
            same "imatrix, printed" "$who" "$work/text"
            "$bin/kld" --quiet -m "$model" -q "$work/quant.gguf" -f testdata/evaluation.txt -c 256 \
                --chunks 4 -t $n_threads --json "$work/out" >"$work/text"
            same "kld --json" "$who" "$work/out"
            same "kld, printed" "$who" "$work/text"
            rm -f "$work/out"
            "$bin/kld" --quiet -m "$model" -f testdata/evaluation.txt -c 256 --chunks 2 \
                -t $n_threads --base "$work/out" >/dev/null
            same "kld --base" "$who" "$work/out"
            for type in "${types[@]}"; do
                [ "$type" = Q2_K_S ] ||
                    { "$bin/quantize" -q -t $n_threads "$model" "$work/out" "$type"
                      same "$type" "$who" "$work/out"; }
                "$bin/quantize" -q -t $n_threads --imatrix "$work/imatrix.gguf" \
                    "$model" "$work/out" "$type"
                same "$type with imatrix" "$who" "$work/out"
            done
        done
    done
done
[ $n_different = 0 ] || { echo "same_bytes: $n_different of $n_compared files differ"; exit 1; }
echo "same_bytes: $n_compared files of ${#first[@]} kinds, each kind the same bytes"
