#!/usr/bin/env bash
# The trained hybrid model (delta nets, experts, a multi-token prediction block) all the way, against
# llama.cpp. Needs TAMIS_PEER, a folder with llama-perplexity and llama-imatrix, and the reference
# models and texts; skipped without them.
# TAMIS_PEER_TYPES: other mixes; TAMIS_PEER_CHUNKS: so many chunks of each text instead of all.
#   importance: every entry of llama-imatrix, sums within 1e-3, counts of every expert equal (on the
#   F32 expansion: on BF16 weights the peer rounds the activations, and near ties go another way)
#   each file loads there, and perplexity is within 1 % of ours
#   the prediction block is in every file, quantized with importance
# shellcheck disable=SC2086 # options are lists of words
. "$(dirname "$0")/lib.sh"
[ -n "${TAMIS_PEER:-}" ] && [ -x "$TAMIS_PEER/llama-perplexity" ] || skip "TAMIS_PEER is not set"
hybrid=${TAMIS_SHARED:-}/models/tiny-qwen35moe.gguf
texts=${TAMIS_SHARED:-}/text
[ -f "$hybrid" ] && [ -f "$texts/calib.txt" ] || skip "no reference models and texts"
types=${TAMIS_PEER_TYPES:-"Q2_K Q3_K_M Q4_K_M Q5_K_M Q6_K IQ4_XS NVFP4"}
options="-c 256 --chunks ${TAMIS_PEER_CHUNKS:--1}"
peer_options="$options -nr -fa off -ctk f32 -ctv f32 -b 256 -t 1"
cd "$work" || exit 1

# running FILE: "chunk perplexity" pairs of what a perplexity run printed
running() {
    grep -o '\[[0-9]*\][0-9.]*' "$1" | tr '[]' '  '
}

quantize -q "$hybrid" f32.gguf F32 || fail "expanding"
imatrix -q -m "$hybrid" -f "$texts/calib.txt" $options -o im.gguf >/dev/null || fail imatrix
"$TAMIS_PEER/llama-imatrix" $peer_options -m f32.gguf -f "$texts/calib.txt" --no-ppl -o peer-im.gguf \
    >peer.txt 2>&1 || fail llama-imatrix
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
kld --quiet -m "$hybrid" "${quants[@]}" -f "$texts/evald.txt" $options --json kld.json >/dev/null ||
    fail kld
python3 - $types >found.txt <<'P'
import json, sys
for name, q in zip(sys.argv[1:], json.load(open("kld.json"))["quants"]):
    print(name, q["kld"]["mean"]["value"])
P
printf '%-8s %6s %9s %9s %8s %8s\n' type chunks ppl peer '% off' 'mean kld'
while read -r type mean; do
    # The peer loses its last lines at exit now and then: the last running value that is there
    # counts, held against ours after as many chunks.
    "$TAMIS_PEER/llama-perplexity" $peer_options --no-warmup -m "$type.gguf" \
        -f "$texts/evald.txt" >peer.txt 2>&1 || { tail -5 peer.txt && fail "$type does not load"; }
    kld --ppl --quiet -m "$type.gguf" -f "$texts/evald.txt" $options >ours.txt || fail "kld --ppl"
    read -r chunk peer <<<"$(running peer.txt | tail -1)"
    n_chunks=$(running ours.txt | tail -1 | awk '{ print $1 }')
    [ "${chunk:-0}" -ge $((n_chunks * 9 / 10)) ] || fail "$type: the peer printed $chunk chunks"
    ppl=$(running ours.txt | awk -v n="$chunk" '$1 == n { print $2 }')
    off=$(awk -v a="$ppl" -v b="$peer" 'BEGIN { printf "%.3f", 100 * (a - b) / b }')
    printf '%-8s %6d %9.4f %9.4f %8s %8.5f\n' "$type" "$chunk" "$ppl" "$peer" "$off" "$mean"
    awk -v d="$off" 'BEGIN { exit !(d < 1 && d > -1) }' || fail "$type: PPL $ppl, the peer says $peer"
done <found.txt
