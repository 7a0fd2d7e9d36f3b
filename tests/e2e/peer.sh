#!/usr/bin/env bash
# Against llama.cpp: our files load there, and the numbers agree. Needs TAMIS_PEER, a folder with
# llama-perplexity and llama-quantize; skipped without it.
#   perplexity of the F32 expansion: within 0.1 % of kld's; of the quantized file itself: 1 %
#   mean and maximum KL divergence of the F32 expansion: within 1 %
. "$(dirname "$0")/lib.sh"
[ -n "${TAMIS_PEER:-}" ] && [ -x "$TAMIS_PEER/llama-perplexity" ] || skip "TAMIS_PEER is not set"
peer="$TAMIS_PEER/llama-perplexity -nr -fa off -ctk f32 -ctv f32 -c 256 -b 256 --no-warmup -t 1"
types=${TAMIS_PEER_TYPES:-"Q2_K Q3_K_M Q4_0 Q4_K_M Q5_K_M Q6_K Q8_0 IQ4_NL IQ4_XS"}
models=${TAMIS_PEER_MODELS:-$model}
text=${TAMIS_PEER_TEXT:-$evaluation}

# close A B TOLERANCE [FLOOR]: |A - B| <= max(TOLERANCE * |B|, FLOOR)
close() {
    awk -v a="$1" -v b="$2" -v t="$3" -v f="${4:-0}" 'BEGIN {
        d = a - b; if (d < 0) d = -d
        m = b < 0 ? -b : b
        exit !(d <= t * m || d <= f) }'
}
field() { # name of a line in the peer's table
    sed -n "s/^$1 *: *\([-0-9.]*\).*/\1/p" "$work/peer.txt" | head -1
}
# divergence MODEL: the peer's table for a model against the base. Its last lines are lost at exit
# now and then: then it runs again.
divergence() {
    for _ in 1 2 3; do
        $peer -m "$1" -f "$text" --kl-divergence-base "$work/base" --kl-divergence \
            >"$work/peer.txt" 2>&1 || fail "llama-perplexity does not run $1"
        grep -q '^Maximum KLD' "$work/peer.txt" && return
    done
    fail "llama-perplexity printed no table for $1"
}

for parent in $models; do
    imatrix -q -m "$parent" -f "$calibration" -c 256 -o "$work/im.gguf" >/dev/null || fail "imatrix"
    quantize -q "$parent" "$work/parent-F32.gguf" F32 || fail "expanding $parent"
    $peer -m "$work/parent-F32.gguf" -f "$text" --kl-divergence-base "$work/base" \
        >"$work/peer.txt" 2>&1 || { tail -5 "$work/peer.txt"; fail "llama-perplexity on $parent"; }
    printf '%-8s %10s %10s %10s | %9s %9s | %9s %9s\n' type ppl 'peer f32' 'peer' \
        'mean kld' peer 'max kld' peer
    for type in $types; do
        q=$work/$type.gguf
        quantize -q --imatrix "$work/im.gguf" "$parent" "$q" "$type" || fail "quantize $type"
        quantize -q --allow-requantize "$q" "$work/q-F32.gguf" F32 || fail "expanding $type"
        kld --quiet -m "$parent" -q "$q" -f "$text" -c 256 --json "$work/kld.json" >/dev/null ||
            fail "kld $type"
        read -r ppl mean max <<<"$(python3 - "$work/kld.json" <<'P'
import json, sys
q = json.load(open(sys.argv[1]))["quants"][0]
print(q["ppl"]["value"], q["kld"]["mean"]["value"], q["kld"]["max"]["value"])
P
)"
        divergence "$q"
        peer_ppl=$(field 'Mean PPL(Q)')
        divergence "$work/q-F32.gguf"
        f32_ppl=$(field 'Mean PPL(Q)')
        peer_mean=$(field 'Mean    KLD')
        peer_max=$(field 'Maximum KLD')
        printf '%-8s %10.4f %10s %10s | %9.6f %9s | %9.6f %9s\n' "$type" "$ppl" "$f32_ppl" \
            "$peer_ppl" "$mean" "$peer_mean" "$max" "$peer_max"
        close "$ppl" "$f32_ppl" 0.001 || fail "$type: PPL $ppl, the peer says $f32_ppl on F32"
        close "$ppl" "$peer_ppl" 0.01 || fail "$type: PPL $ppl, the peer says $peer_ppl"
        # The peer's base file has 16 bits a value: its floor is about 2e-5 in the mean.
        close "$mean" "$peer_mean" 0.01 2e-5 || fail "$type: mean KLD $mean, the peer says $peer_mean"
        close "$max" "$peer_max" 0.01 2e-4 || fail "$type: maximum KLD $max, the peer says $peer_max"
    done
done
