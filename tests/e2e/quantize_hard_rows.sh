#!/usr/bin/env bash
# quantize on a model with the rows that encoders trip over, and with importance over ten orders of
# magnitude: every type and effort gives a sound file, and a value that a format cannot hold is
# an error that names tensor, row and element.
. "$(dirname "$0")/lib.sh"
python3 -c "" 2>/dev/null || skip "no python3"
cd "$work" || exit 1
up=blk.0.ffn_up.weight
patch() {
    python3 "$TAMIS_SOURCE/tests/patch_rows.py" "$@" || fail "patch $*"
}
cp "$model" hard.gguf
imatrix -q -m "$model" -f "$calibration" -c 64 --chunks 1 -o matrix.gguf || fail "imatrix"
for layer in 0 1 2 3 4 5; do
    patch hard.gguf blk.$layer.ffn_up.weight hard
    patch matrix.gguf blk.$layer.ffn_up.weight.in_sum2 spread
done

# What the table of the docs says is encoded, six types in a file.
types=$(awk -F'|' '$7 ~ /yes/ && $8 ~ /yes/ { gsub(" ", ""); print $3 }' "$TAMIS_SOURCE/docs/tensor-types.md")
[ "$(wc -w <<<"$types")" -ge 15 ] || fail "too few types: $types"
try_types() { # TYPE...
    local rules=() layer=0 type effort
    for type; do
        rules+=(--tensor-type "blk.$layer.ffn_up=$type")
        layer=$((layer + 1))
    done
    for effort in fast normal best; do
        quantize -q --lax --effort $effort --imatrix matrix.gguf "${rules[@]}" hard.gguf out.gguf F16 \
            2>log || { cat log >&2; fail "$* at $effort"; }
        gguf check -q --deep out.gguf >log || { cat log >&2; fail "$* at $effort: not sound"; }
        gguf show out.gguf >shown
        layer=0
        for type; do
            grep -qE "^blk.$layer.ffn_up.weight .* $type " shown || fail "blk.$layer is not $type"
            layer=$((layer + 1))
        done
    done
}
while read -r -a some; do
    try_types "${some[@]}"
done < <(xargs -n 6 <<<"$types")

quantize_up() { # TYPE SOURCE
    quantize -q --lax --tensor-type "ffn_up=$1" --imatrix matrix.gguf "$2" large-out.gguf F16
}
# Beyond any scale in f16: 2^100 in row 300, column 77. Float types and those with wider scales hold it.
cp "$model" large.gguf
patch large.gguf $up 300,77=0x1p100
for type in $types; do
    case $type in f32 | bf16 | mxfp4 | nvfp4) continue ;; esac
    expect 3 "tensor '$up', row 300: element 77 is 1\.26765e\+30; $type holds magnitudes up to" \
        quantize_up "$type" large.gguf
done
for value in nan -inf; do
    cp "$model" bad.gguf
    patch bad.gguf $up 767,255=$value
    expect 3 "tensor '$up', row 767: element 255 is (-)?(nan|inf); weights must be finite" \
        quantize_up q4_K bad.gguf
done
[ ! -e large-out.gguf ] || fail "a refused file was written"
no_temporaries .

# Importance that is not one.
cp matrix.gguf bad-matrix.gguf
patch bad-matrix.gguf $up.in_sum2 0,3=-1
expect 3 "$up" quantize -q --imatrix bad-matrix.gguf hard.gguf large-out.gguf Q4_K
[ ! -e large-out.gguf ] || fail "a refused file was written"
exit 0
