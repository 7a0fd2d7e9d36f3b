#!/usr/bin/env bash
# Against llama-quantize, live: mixes x models x with and without an importance matrix x options.
# Both make the file; names, order, types, shapes, offsets, metadata and sizes must agree
# (tests/compare_gguf.py says what may differ), and our dry run must know the size to the byte.
# Needs TAMIS_PEER, a folder with llama-quantize, llama-imatrix, llama-gguf-split; skipped without it.
# TAMIS_PEER_TYPES: the mixes to walk on the trained models, instead of all.
. "$(dirname "$0")/lib.sh"
[ -n "${TAMIS_PEER:-}" ] && [ -x "$TAMIS_PEER/llama-quantize" ] || skip "TAMIS_PEER is not set"
[ -d "${TAMIS_SHARED:-}/models" ] || skip "no reference models"
fixtures=$TAMIS_SHARED/fixtures
qwen3=$TAMIS_SHARED/models/tiny-qwen3.gguf
moe=$TAMIS_SHARED/models/tiny-qwen35moe.gguf
cd "$work" || exit 1
imatrix -q -m "$qwen3" -f "$calibration" -c 256 --chunks 8 -o qwen3.im >/dev/null || fail imatrix
"$TAMIS_PEER/llama-imatrix" -nr -m "$moe" -f "$calibration" -c 256 --chunks 8 -o moe.gguf \
    >peer.txt 2>&1 && mv moe.gguf moe.im || fail llama-imatrix
n_done=0 n_refused=0 n_failed=0

first_file() { # of what was written under a name: the file, or the first of its set
    local set
    set=$(ls "$1"-00001-of-*.gguf 2>/dev/null)
    echo "${set:-$1.gguf}"
}

# both MODEL TYPE OPTIONS...: with one set of options for both
both() {
    local model=$1 type=$2 label bytes ours=0 peers=0
    shift 2
    label="$(basename "$model") $type $*"
    rm -f ours*.gguf peer*.gguf
    bytes=$(quantize --dry-run "$@" "$model" "$type" 2>"$work/ours.txt" |
        sed -n 's/.*the file: \([0-9]*\) bytes.*/\1/p')
    quantize -q "$@" "$model" ours.gguf "$type" 2>"$work/ours.txt" || ours=$?
    "$TAMIS_PEER/llama-quantize" "$@" "$model" peer.gguf "$type" >"$work/peer.txt" 2>&1 || peers=$?
    if [ "$ours" != 0 ] && [ "$peers" != 0 ]; then
        n_refused=$((n_refused + 1))
        echo "both refuse  $label: $(cut -c1-120 "$work/ours.txt" | head -1)"
        return
    fi
    if [ "$ours" != 0 ] || [ "$peers" != 0 ]; then
        n_failed=$((n_failed + 1))
        echo "FAILED       $label: ours exit $ours, peer's $peers"
        head -2 "$work/ours.txt"
        grep -i "fail\|error" "$work/peer.txt" | head -2
        return
    fi
    if python3 "$TAMIS_SOURCE/tests/compare_gguf.py" "$(first_file ours)" "$(first_file peer)" \
        "$bytes" >"$work/compare.txt"; then
        n_done=$((n_done + 1))
        echo "equal        $label: $(head -1 "$work/compare.txt")"
    else
        n_failed=$((n_failed + 1))
        echo "DIFFERENT    $label: $(cat "$work/compare.txt")"
    fi
}

all_types=${TAMIS_PEER_TYPES-"IQ1_S IQ1_M Q1_0 TQ1_0 TQ2_0 IQ2_XXS IQ2_XS IQ2_S IQ2_M Q2_0 Q2_K Q2_K_S
    IQ3_XXS IQ3_XS IQ3_S IQ3_M Q3_K_S Q3_K_M Q3_K_L MXFP4_MOE Q4_0 Q4_1 IQ4_NL IQ4_XS Q4_K_S Q4_K_M
    Q5_0 Q5_1 Q5_K_S Q5_K_M Q6_K Q8_0 F16 BF16 F32 COPY"}

# every mix on the trained models, with and without importance
for type in $all_types; do
    both "$qwen3" "$type"
    both "$moe" "$type"
    both "$qwen3" "$type" --imatrix qwen3.im
    both "$moe" "$type" --imatrix moe.im
done

# every architecture: the mixes with the most rules; rows that do not divide fall back
for model in "$fixtures"/arch/*.gguf; do
    case $model in */gpt-oss.gguf) continue ;; esac # keeps its trained blocks here: see below
    for type in Q2_K Q3_K_L Q4_K_M IQ4_XS IQ3_S MXFP4_MOE TQ2_0 Q2_0; do
        both "$model" "$type"
    done
done
for name in llama mixtral qwen3 qwen35moe; do
    for type in Q2_K_S Q3_K_M Q4_0 Q5_K_M IQ1_S IQ2_XS IQ2_M IQ3_XXS IQ3_XS; do
        both "$fixtures/arch/$name.gguf" "$type" --imatrix "$fixtures/imatrix/$name.c128.gguf"
    done
done
both "$fixtures/arch/mixtral.gguf" Q4_K_S --imatrix "$fixtures/imatrix/mixtral.c128.dat"
both "$fixtures/imatrix/idle-expert.gguf" Q4_K_M --imatrix "$fixtures/imatrix/idle-expert.c128.gguf"

# options
printf 'ffn_up=q5_K  attn_v=q8_0\nblk.[01].ffn_down=q8_0\n' >rules.txt
both "$qwen3" Q4_K_M --pure
both "$fixtures/arch/llama.gguf" Q4_K_M --pure
both "$fixtures/arch/llama.gguf" Q4_K_M --leave-output-tensor
both "$fixtures/arch/llama.gguf" Q4_K_M --output-tensor-type q8_0
both "$fixtures/arch/llama.gguf" Q8_0 --output-tensor-type F16 --token-embedding-type q4_0
both "$fixtures/arch/llama.gguf" F16 --output-tensor-type q8_0 --token-embedding-type q8_0
both "$qwen3" Q4_K_M --output-tensor-type Q8_0
both "$qwen3" Q3_K_M --token-embedding-type q5_K
both "$qwen3" Q4_K_M --tensor-type attn_v=q8_0 --tensor-type 'ffn_(up|gate)=Q5_K'
both "$qwen3" Q4_K_M --tensor-type 'blk.[01].ffn_down=q8_0'
both "$qwen3" Q4_K_M --tensor-type 'ATTN_V=Q8_0' --tensor-type 'attn_.*=q5_0'
both "$qwen3" Q4_K_S --tensor-type-file rules.txt
both "$qwen3" Q4_K_S --tensor-type 'blk.2.ffn_up=f16' --tensor-type-file rules.txt
both "$qwen3" Q4_K_S --tensor-type-file rules.txt --tensor-type 'ffn_=q6_K'
both "$moe" Q4_K_S --pure --tensor-type '_exps=q5_K'
both "$moe" MXFP4_MOE --tensor-type 'shexp=mxfp4'
both "$qwen3" IQ2_XS --pure --imatrix qwen3.im --token-embedding-type q4_K
both "$qwen3" IQ2_M --imatrix qwen3.im --tensor-type 'ffn_down=iq3_xxs'
both "$qwen3" IQ2_M --imatrix qwen3.im --exclude-weights ffn_down
both "$qwen3" Q4_K_M --tensor-type 'attn_v=iq2_s'
both "$qwen3" IQ3_S --token-embedding-type iq2_s
both "$qwen3" TQ1_0 --tensor-type 'ffn_down=tq2_0'
both "$qwen3" Q4_K_M --imatrix qwen3.im --include-weights ffn_ --include-weights attn_v
both "$qwen3" Q4_K_M --imatrix qwen3.im --exclude-weights ffn_down
both "$qwen3" Q2_K_S --imatrix qwen3.im --exclude-weights ffn_down
both "$qwen3" Q4_K_M --prune-layers 1,3
both "$qwen3" IQ4_XS --prune-layers 0,5 --imatrix qwen3.im
both "$fixtures/arch/mixtral.gguf" Q4_K_M --prune-layers 1 \
    --imatrix "$fixtures/imatrix/mixtral.c128.gguf"
both "$qwen3" Q4_K_M --prune-layers 2 --tensor-type 'blk.3.ffn_up=q8_0'
both "$qwen3" Q4_K_M --override-kv qwen3.block_count=int:20
both "$qwen3" IQ4_XS --override-kv qwen3.attention.head_count_kv=int:1
both "$qwen3" Q4_K_M --override-kv qwen3.expert_count=int:8 \
    --override-kv qwen3.expert_used_count=int:2
both "$qwen3" Q8_0 --override-kv general.name=str:Another --override-kv \
    qwen3.rope.freq_base=float:5000 --override-kv tokenizer.ggml.add_bos_token=bool:true
both "$qwen3" COPY --override-kv tokenizer.ggml.eos_token_id=int:3
quantize -q "$qwen3" q8.gguf Q8_0
both q8.gguf Q8_0
both q8.gguf Q4_K_M
both q8.gguf Q4_K_M --allow-requantize
both q8.gguf F16 --allow-requantize
both q8.gguf COPY
both "$fixtures/arch/gpt-oss.gguf" Q4_K_M --allow-requantize
both "$fixtures/arch/gpt-oss.gguf" COPY
both "$fixtures/imatrix/wide.Q4_0.gguf" Q4_0
"$TAMIS_PEER/llama-gguf-split" --split --split-max-tensors 20 "$qwen3" set >/dev/null 2>&1
both set-00001-of-00004.gguf Q4_K_M
both set-00001-of-00004.gguf Q4_K_M --keep-split
both set-00001-of-00004.gguf Q3_K_M --keep-split --imatrix qwen3.im
both set-00001-of-00004.gguf COPY --keep-split
both "$qwen3" Q8_0 --keep-split

echo "$n_done combinations equal, $n_refused refused by both, $n_failed different"
[ "$n_failed" = 0 ] && [ "$n_done" -ge 40 ]
