#!/usr/bin/env bash
# quantize: every refusal is one line with the right exit code, and leaves nothing behind.
set -u
[ -d "$TAMIS_SHARED/fixtures" ] || { echo "skipped: no reference fixtures"; exit 77; }
quantize=$TAMIS_BIN/quantize
model=$TAMIS_SHARED/fixtures/arch/qwen3.gguf
dir=$(mktemp -d) && trap 'chmod -R u+w "$dir"; rm -rf "$dir"' EXIT
cd "$dir" || exit 1
failed=0

# refuse CODE TEXT ARGUMENTS...: the exit code, TEXT in the message, one line, no new file
refuse() {
    local code=$1 text=$2 before after message status
    shift 2
    before=$(find . | sort)
    message=$("$quantize" -q "$@" 2>&1)
    status=$?
    after=$(find . | sort)
    if [ "$status" != "$code" ] || ! grep -qiF -- "$text" <<<"$message" ||
        [ "$(grep -vc "try 'quantize --help'" <<<"$message")" != 1 ] || [ "$before" != "$after" ]; then
        echo "FAILED: quantize $*: exit $status (want $code), \"$message\" (want \"$text\")"
        failed=1
    fi
}

# the command line
refuse 2 "input file and a type"
refuse 2 "input file and a type" "$model"
refuse 2 "did you mean Q4_K" "$model" out.gguf Q4_KM
refuse 2 "unknown type '15x.gguf'" "$model" 15x.gguf
refuse 2 "unknown type" "$model" out.gguf 99
refuse 2 "iq1_m in IQ1_M needs importance data" "$model" out.gguf IQ1_M
refuse 2 "nthreads" "$model" out.gguf Q8_0 many
refuse 2 "one argument too many" "$model" out.gguf Q8_0 2 3
refuse 2 "imatrix" --imatrx x "$model" out.gguf Q8_0
refuse 2 "unknown type 'q9'" --output-tensor-type q9 "$model" out.gguf Q8_0
refuse 2 "REGEX=TYPE" --tensor-type attn_v "$model" out.gguf Q8_0
refuse 2 "do not go together" --imatrix x --include-weights a --exclude-weights b "$model" o.gguf Q8_0

refuse 2 "matches no tensor of $model; the nearest name is 'blk.0.ffn_down.weight'" --tensor-type ffn_dwn=q6_K "$model" o.gguf Q8_0

# the input
refuse 3 "missing.gguf" missing.gguf out.gguf Q8_0
refuse 3 "" "$dir" out.gguf Q8_0
head -c 100000 "$model" >cut.gguf
refuse 3 "cut.gguf" cut.gguf out.gguf Q8_0
head -c 0 "$model" >empty.gguf
refuse 3 "empty.gguf" empty.gguf out.gguf Q8_0
refuse 3 "a.weight" "$TAMIS_SHARED/fixtures/gguf/odd/nan-f32.gguf" out.gguf Q8_0
refuse 3 "allow-requantize" "$TAMIS_SHARED/fixtures/imatrix/wide.Q4_0.gguf" out.gguf Q8_0
refuse 3 "no-such-matrix" --imatrix no-such-matrix "$model" out.gguf Q8_0
refuse 3 "imatrix.chunk_size" --imatrix "$TAMIS_SHARED/fixtures/imatrix/bad/gguf-without-chunk_size.gguf" \
    "$model" out.gguf Q4_0
for bad in "$TAMIS_SHARED"/fixtures/imatrix/bad/dat-*.dat; do
    refuse 3 "" --imatrix "$bad" "$TAMIS_SHARED/fixtures/arch/llama.gguf" out.gguf Q4_0
done

# the output
cp "$model" same.gguf
refuse 2 "same.gguf" same.gguf same.gguf Q8_0
refuse 2 "same.gguf" --json same.gguf same.gguf out.gguf Q8_0
refuse 2 "out.gguf" --json out.gguf same.gguf out.gguf Q8_0
cp "$TAMIS_SHARED/fixtures/imatrix/qwen3.c128.gguf" matrix.gguf
refuse 2 "matrix.gguf" --imatrix matrix.gguf same.gguf matrix.gguf Q8_0
refuse 4 "no-folder" --json no-folder/x same.gguf out.gguf Q8_0
refuse 4 "no-folder" same.gguf no-folder/out.gguf Q8_0
ln -s same.gguf link.gguf
refuse 2 "link.gguf" same.gguf link.gguf Q8_0
refuse 4 "nowhere" "$model" nowhere/out.gguf Q8_0
mkdir folder.gguf
refuse 4 "folder.gguf" "$model" folder.gguf Q8_0
refuse 4 "--mem" --mem 50K "$model" out.gguf Q8_0
if [ "$(id -u)" != 0 ]; then
    mkdir locked && chmod a-w locked
    refuse 4 "locked" "$model" locked/out.gguf Q8_0
fi
mkdir full
if mount -t tmpfs -o size=128k none full 2>/dev/null; then
    refuse 4 "full/out.gguf" "$model" full/out.gguf Q8_0
    umount full
else
    echo "no small file system could be mounted: the full disk was not tried"
fi

# an old output survives a failure
echo old >out.gguf
refuse 3 "a.weight" "$TAMIS_SHARED/fixtures/gguf/odd/nan-f32.gguf" out.gguf Q8_0
[ "$(cat out.gguf)" = old ] || { echo "FAILED: the old output is gone"; failed=1; }
exit $failed
