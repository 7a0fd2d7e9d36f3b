#!/usr/bin/env bash
# The examples of README and of the pages print what the pages say, and the commands in them have
# the options they use.
. "$(dirname "$0")/lib.sh"
cd "$work" || exit 1
ln -s "$TAMIS_SOURCE/testdata" testdata
cp "$model" model.gguf
# What scripts/demo.sh leaves, for pages that go on from there.
imatrix -q --no-ppl -m "$model" -f "$calibration" -c 256 -o demo.gguf >/dev/null || fail imatrix
for type in Q2_K Q8_0; do
    quantize -q --imatrix demo.gguf "$model" "tiny-$type.gguf" "$type" || fail "quantize $type"
done
python3 "$TAMIS_SOURCE/tests/check_examples.py" "$TAMIS_SOURCE/README.md" \
    $(grep -l '^\$ ' "$TAMIS_SOURCE"/docs/*.md) || fail "examples that are not true"
