#!/usr/bin/env bash
# Every architecture of fixtures/arch against llama-imatrix, live: importance sums within 1e-4,
# counts of every expert equal, perplexity within 0.1 %; with all weights expanded to F32, since on
# others the peer rounds the activations, and near ties of experts go another way. Its GELU is a
# table of 16-bit floats: the gemmas are within 3e-3, and gemma4moe has experts chosen otherwise.
# Needs TAMIS_PEER, a folder with llama-imatrix, and the fixtures; skipped without them.
# TAMIS_PEER_FAMILIES: only these fixtures.
. "$(dirname "$0")/lib.sh"
[ -n "${TAMIS_PEER:-}" ] && [ -x "$TAMIS_PEER/llama-imatrix" ] || skip "TAMIS_PEER is not set"
fixtures=${TAMIS_SHARED:-}/fixtures/arch
[ -f "$fixtures/gemma4.gguf" ] || skip "no fixtures"
cd "$work" || exit 1
head -c 12000 "$calibration" >text.txt

# estimate FILE: the last perplexity in what was printed
estimate() {
    sed -n 's/.*[Ff]inal estimate: PPL = \([0-9.]*\).*/\1/p' "$1" | tail -1
}

# expand MODEL: f32.gguf, also what quantize leaves alone (a shared expert's gate of one row, gemma
# 4's per_layer_model_proj)
expand() {
    quantize -q --no-self-check --allow-requantize "$1" f32.gguf F32 || fail "expanding $1"
    python3 - "$TAMIS_SOURCE/tests" f32.gguf <<'P'
import math, struct, sys
sys.path.insert(0, sys.argv[1])
sys.dont_write_bytecode = True
import compare_gguf
from derive_gguf import derive
r = compare_gguf.read(sys.argv[2])
data, start, rows = open(sys.argv[2], "rb").read(), -(-r["head"] // 32) * 32, []
for name, ne, kind, offset in r["tensors"]:
    if kind == 30:
        halves = struct.unpack_from(f"<{math.prod(ne)}H", data, start + offset)
        rows.append((name, 0, ne, b"".join(struct.pack("<I", x << 16) for x in halves)))
names = {name for name, *_ in rows}
if rows:
    derive(sys.argv[2], sys.argv[2], r["keys"]["general.architecture"][1].decode(),
           lambda name: None if name in names else name, (), rows)
P
}

for path in "$fixtures"/*.gguf; do
    name=$(basename "$path" .gguf)
    if [ -n "${TAMIS_PEER_FAMILIES:-}" ] && [[ " $TAMIS_PEER_FAMILIES " != *" $name "* ]]; then continue; fi
    expand "$path" || fail "expanding $name"
    case $name in gemma*) tolerance=3e-3 ;; *) tolerance=1e-4 ;; esac
    imatrix -q -m f32.gguf -f text.txt -c 128 --chunks 4 -o ours.gguf >ours.txt || fail "imatrix $name"
    peer=
    for _ in 1 2 3 4; do # it may lose its last lines at its end
        rm -f peer.gguf
        "$TAMIS_PEER/llama-imatrix" -nr -fa off -ctk f32 -ctv f32 -t 1 -m f32.gguf -f text.txt -c 128 \
            -b 128 --chunks 4 -o peer.gguf >peer.txt 2>&1
        peer=$(estimate peer.txt)
        [ -z "$peer" ] || [ ! -e peer.gguf ] || break
    done
    ours=$(estimate ours.txt)
    found=$(python3 "$TAMIS_SOURCE/tests/compare_imatrix.py" ours.gguf peer.gguf $tolerance)
    differs=$?
    echo "$name: perplexity $ours, the peer's $peer; ${found:0:160}"
    [ $differs = 0 ] || [ "$name" = gemma4moe ] || fail "$name: importance differs"
    awk -v a="$ours" -v b="$peer" 'BEGIN { d = a / b - 1; exit !(d < 1e-3 && d > -1e-3) }' ||
        fail "$name: perplexity $ours, the peer's $peer"
done
