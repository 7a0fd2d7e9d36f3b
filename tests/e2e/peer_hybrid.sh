#!/usr/bin/env bash
# The trained hybrid model (delta nets, experts, a multi-token prediction block) all the way, against
# llama.cpp. Needs TAMIS_PEER, a folder with llama-perplexity and llama-imatrix, and the reference
# models and texts; skipped without them. TAMIS_PEER_TYPES: other mixes.
#   importance: every entry of llama-imatrix, sums within 1e-3, counts of every expert equal (on the
#   F32 expansion: on BF16 weights the peer rounds the activations, and near ties go another way)
#   each file loads there, and perplexity is within 1 % of ours
#   the prediction block is in every file, quantized with importance
. "$(dirname "$0")/lib.sh"
[ -n "${TAMIS_PEER:-}" ] && [ -x "$TAMIS_PEER/llama-perplexity" ] || skip "TAMIS_PEER is not set"
hybrid=${TAMIS_SHARED:-}/models/tiny-qwen35moe.gguf
texts=${TAMIS_SHARED:-}/text
[ -f "$hybrid" ] && [ -f "$texts/calib.txt" ] || skip "no reference models and texts"
types=${TAMIS_PEER_TYPES:-"Q2_K Q3_K_M Q4_K_M Q5_K_M Q6_K IQ4_XS NVFP4"}
peer_options="-nr -fa off -ctk f32 -ctv f32 -c 256 -b 256 -t 1"
cd "$work" || exit 1

# run LINE COMMAND...: again when the peer loses its last lines at exit, as it does now and then
run() {
    local line=$1
    shift
    for _ in 1 2 3; do
        "$@" >peer.txt 2>&1 || { tail -5 peer.txt && fail "$*"; }
        grep -q "$line" peer.txt && return
    done
    fail "no '$line' from $*"
}

quantize -q "$hybrid" f32.gguf F32 || fail "expanding"
imatrix -q -m "$hybrid" -f "$texts/calib.txt" -c 256 -o im.gguf >/dev/null || fail imatrix
# shellcheck disable=SC2086
"$TAMIS_PEER/llama-imatrix" $peer_options -m f32.gguf -f "$texts/calib.txt" --no-ppl --chunks ${TAMIS_PEER_CHUNKS:--1} \
    -o peer-im.gguf >peer.txt 2>&1 || fail llama-imatrix
python3 "$TAMIS_SOURCE/tests/compare_imatrix.py" im.gguf peer-im.gguf || fail "importance differs"

quants=()
for type in $types; do
    quantize --imatrix im.gguf "$hybrid" "$type.gguf" "$type" >/dev/null 2>quantize.txt ||
        { cat quantize.txt && fail "quantize $type"; }
    if grep -i 'no data\|no importance' quantize.txt; then fail "$type: tensors without importance"; fi
    for name in nextn.eh_proj attn_q ffn_down_exps; do
        gguf show --filter "blk.4.$name.weight" --json show.json "$type.gguf" >/dev/null
        grep -q "blk.4.$name.weight" show.json || fail "$type: the prediction block lost $name"
    done
    quants+=(-q "$type.gguf")
done
kld --quiet -m "$hybrid" "${quants[@]}" -f "$texts/evald.txt" -c 256 --json kld.json >/dev/null ||
    fail kld
python3 - $types >found.txt <<'P'
import json, sys
for name, q in zip(sys.argv[1:], json.load(open("kld.json"))["quants"]):
    print(name, q["ppl"]["value"], q["kld"]["mean"]["value"])
P
printf '%-8s %9s %9s %8s %8s\n' type ppl peer '% off' 'mean kld'
while read -r type ppl mean; do
    # shellcheck disable=SC2086
    run '^Final estimate' "$TAMIS_PEER/llama-perplexity" $peer_options --no-warmup \
        -m "$type.gguf" -f "$texts/evald.txt"
    peer=$(sed -n 's/^Final estimate: PPL = \([0-9.]*\).*/\1/p' peer.txt)
    off=$(awk -v a="$ppl" -v b="$peer" 'BEGIN { printf "%.3f", 100 * (a - b) / b }')
    printf '%-8s %9.4f %9.4f %8s %8.5f\n' "$type" "$ppl" "$peer" "$off" "$mean"
    awk -v d="$off" 'BEGIN { exit !(d < 1 && d > -1) }' || fail "$type: PPL $ppl, the peer says $peer"
done <found.txt
