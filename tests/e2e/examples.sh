#!/usr/bin/env bash
# The examples of README and of the pages print what the pages say. Each page has a folder of its
# own that holds testdata and what its examples take for granted.
. "$(dirname "$0")/lib.sh"
mkdir "$work/given"
cd "$work/given" || exit 1
cp "$model" model.gguf
cp "$calibration" "$evaluation" .
calibrate() { # TEXT OUT OPTIONS...
    local text=$1 out=$2
    shift 2
    imatrix -q --no-ppl -m model.gguf -f "$text" -c 256 -o "$out" "$@" >/dev/null || fail imatrix
}
calibrate calibration.txt imatrix.gguf
calibrate calibration.txt a.gguf --chunks 8
calibrate evaluation.txt b.gguf --chunks 8
quantize -q --imatrix imatrix.gguf model.gguf tiny-Q2_K.gguf Q2_K || fail "quantize Q2_K"
quantize -q model.gguf tiny-Q4_K_M.gguf Q4_K_M || fail "quantize Q4_K_M"
fixtures=${TAMIS_SHARED:-}/fixtures
for file in "$fixtures/tokenizers/small-bpe-holes.gguf" "$fixtures/imatrix/idle-expert.c128.gguf" \
    "${TAMIS_SHARED:-}/models/tiny-qwen35moe.gguf"; do
    [ ! -e "$file" ] || cp "$file" .
done

n_bad=0
for page in "$TAMIS_SOURCE/README.md" $(grep -l '^\$ ' "$TAMIS_SOURCE"/docs/*.md); do
    name=${page##*/}
    mkdir "$work/here"
    cd "$work/here" || exit 1
    ln -s "$TAMIS_SOURCE/testdata" testdata
    # README goes through everything from the start, and kld.md on from there.
    case $name in
    README.md) ;;
    kld.md) cp "$work/given/tiny-Q2_K.gguf" "$work/readme.gguf" . && mv readme.gguf tiny-Q4_K_M.gguf ;;
    *) cp "$work/given"/* . ;;
    esac
    if grep -q 'small-bpe-holes\|idle-expert' "$page" && [ ! -e "$fixtures" ]; then
        echo "$name: left out, no reference fixtures"
    else
        echo "$name:"
        python3 "$TAMIS_SOURCE/tests/check_examples.py" "$page" || n_bad=$((n_bad + 1))
    fi
    [ "$name" != README.md ] || cp tiny-Q4_K_M.gguf "$work/readme.gguf"
    rm -rf "$work/here"
done
[ $n_bad = 0 ] || fail "$n_bad pages have examples that are not true"
