#!/usr/bin/env bash
# Against llama.cpp: a file of every type loads there, and what is computed from it agrees. Needs
# TAMIS_PEER, a folder with llama-perplexity; skipped without it.
#   every file type: perplexity of the file there within 1 % of kld's, on the same text
#   NVFP4 of every fixture architecture: the KL divergence there of the file from its own F32
#   expansion is that of rounded activations; a scale that is not applied would give 1 and more
# TAMIS_PEER_TYPES: these types only, in place of all.
. "$(dirname "$0")/lib.sh"
[ -n "${TAMIS_PEER:-}" ] && [ -x "$TAMIS_PEER/llama-perplexity" ] || skip "TAMIS_PEER is not set"
[ -d "${TAMIS_SHARED:-}/models" ] || skip "no reference models"
peer="$TAMIS_PEER/llama-perplexity -nr -fa off -ctk f32 -ctv f32 --no-warmup -t 1"
types=${TAMIS_PEER_TYPES-"IQ1_S IQ1_M Q1_0 TQ1_0 TQ2_0 IQ2_XXS IQ2_XS IQ2_S IQ2_M Q2_0 Q2_K Q2_K_S IQ3_XXS
    IQ3_XS IQ3_S IQ3_M Q3_K_S Q3_K_M Q3_K_L MXFP4_MOE NVFP4 Q4_0 Q4_1 IQ4_NL IQ4_XS Q4_K_S Q4_K_M
    Q5_0 Q5_1 Q5_K_S Q5_K_M Q6_K Q8_0 F16 BF16 F32"}
parent=$TAMIS_SHARED/models/tiny-qwen3.gguf
cd "$work" || exit 1
head -c 60000 "$evaluation" >eval.txt
n_done=0 n_failed=0

# divergence MODEL OPTIONS...: the peer's table for a model against the base file. Its last lines
# are lost at exit now and then: then it runs again.
divergence() {
    local file=$1
    shift
    for _ in 1 2 3 4 5; do
        $peer "$@" -m "$file" --kl-divergence-base base --kl-divergence >peer.txt 2>&1
        grep -q '^Maximum KLD' peer.txt && return
    done
    return 1
}

field() { # name of a line in the peer's table
    sed -n "s/^$1 *: *\([-0-9.]*\).*/\1/p" peer.txt | head -1
}

# verdict LABEL CONDITION TEXT
verdict() {
    if awk "BEGIN { exit !($2) }"; then
        n_done=$((n_done + 1))
        echo "agrees  $1: $3"
    else
        n_failed=$((n_failed + 1))
        echo "FAILED  $1: $3"
    fi
}

imatrix -q -m "$parent" -f "$calibration" -c 256 -o im.gguf >/dev/null || fail imatrix
quantize -q "$parent" f32.gguf F32 || fail "expanding $parent"
$peer -c 256 -b 256 -f eval.txt -m f32.gguf --kl-divergence-base base >peer.txt 2>&1
for type in $types; do
    quantize -q --imatrix im.gguf "$parent" q.gguf "$type" || fail "quantize $type"
    kld --quiet -m "$parent" -q q.gguf -f eval.txt -c 256 --json kld.json >/dev/null ||
        fail "kld $type"
    ours=$(python3 -c 'import json
print(json.load(open("kld.json"))["quants"][0]["ppl"]["value"])')
    if divergence q.gguf -c 256 -b 256 -f eval.txt; then
        peers=$(field 'Mean PPL(Q)')
        verdict "$type" "$ours / $peers < 1.01 && $peers / $ours < 1.01" "perplexity $ours, $peers"
    else
        verdict "$type" 0 "llama-perplexity does not run it: $(grep -i error peer.txt | head -1)"
    fi
done

for model in "$TAMIS_SHARED"/fixtures/arch/*.gguf "$TAMIS_SHARED/models/tiny-qwen35moe.gguf"; do
    [ -z "${TAMIS_PEER_TYPES:-}" ] || break
    name=$(basename "$model" .gguf)
    quantize -q --allow-requantize "$model" q.gguf NVFP4 2>ours.txt || fail "$name: $(cat ours.txt)"
    quantize -q --allow-requantize q.gguf f32.gguf F32 2>ours.txt || fail "$name: $(cat ours.txt)"
    $peer -c 128 -b 128 -f eval.txt --chunks 3 -m f32.gguf --kl-divergence-base base >peer.txt 2>&1
    if divergence q.gguf -c 128 -b 128 -f eval.txt --chunks 3; then
        mean=$(field 'Mean    KLD')
        verdict "$name NVFP4" "$mean < 0.1" \
            "KL divergence $mean, $(gguf show q.gguf | grep -c '\.scale ') scales"
    else
        verdict "$name NVFP4" 0 "$(grep -i error peer.txt | head -1)"
    fi
done

echo "$n_done agree, $n_failed do not"
[ "$n_failed" = 0 ] && [ "$n_done" -gt 0 ]
