#!/usr/bin/env bash
# Walks the tables of docs/coming-from-llama.cpp.md: both commands of every line run on the same
# inputs, and their results are compared as the last column says (tests/compare_peer.py). Needs
# TAMIS_PEER, a folder with the llama.cpp tools; lines whose tool is not there are named and left
# out. TAMIS_PEER_PY, the folder with the Python package gguf, is for the lines of its scripts.
# TAMIS_PEER_LINES, a pattern, chooses lines: 'llama-gguf-*'.
. "$(dirname "$0")/lib.sh"
[ -n "${TAMIS_PEER:-}" ] && [ -x "$TAMIS_PEER/llama-quantize" ] || skip "TAMIS_PEER is not set"
page=$TAMIS_SOURCE/docs/coming-from-llama.cpp.md
mkdir "$work/in" "$work/ours" "$work/peers"
cd "$work/in" || exit 1

cp "$model" model.gguf
head -c 40000 "$calibration" >calibration.txt
head -c 40000 "$evaluation" >eval.txt
for i in 1 2 3 4 5 6 7 8; do
    printf '<|im_start|>user\nQuestion %d, what is it about?<|im_end|>\n' $i
done >chat.txt
echo 'attn_v=q8_0 blk\.[01]\.ffn_up=q5_K
ffn_down=q6_K' >rules.txt
printf '{{ messages[0].content }}' >template.jinja
cp "$TAMIS_SOURCE"/testdata/tasks/{hellaswag.txt,winogrande.csv,multiple-choice.bin} .
quantize -q model.gguf small.gguf Q8_0 || fail quantize
quantize -q model.gguf q4.gguf Q4_K_M || fail quantize
quantize -q --allow-requantize q4.gguf expanded.gguf F32 || fail quantize
imatrix -q -m model.gguf -f calibration.txt -c 256 --chunks 4 -o imatrix.gguf >/dev/null || fail imatrix
imatrix -q -m model.gguf -f eval.txt -c 256 --chunks 3 -o imatrix2.gguf >/dev/null || fail imatrix
imatrix merge -q --output-format dat -o imatrix.dat imatrix.gguf || fail "imatrix merge"
gguf split -q --max-tensors 30 model.gguf part || fail "gguf split"
gguf hash --all model.gguf >manifest.txt || fail "gguf hash"
kld --quiet -m model.gguf -f eval.txt -c 256 --chunks 4 --save-all-logits parent.base >/dev/null ||
    fail "kld --save-all-logits"

python=python3
"$python" -c 'import numpy' 2>/dev/null || python=/usr/bin/python3

# run FOLDER WORD...: one command in a folder of its own that holds the inputs; what it leaves and
# prints stays there. The peer's tools run with exact attention, and without asking for a terminal.
run() {
    local folder=$1 tool=$2
    shift 2
    rm -rf "$folder"
    mkdir "$folder"
    cp -l "$work/in"/* "$folder"/
    # Files that are edited in place must not be links to the inputs.
    cp --remove-destination "$work/in/model.gguf" "$folder/model.gguf"
    cd "$folder" || exit 1
    case $tool in
    llama-imatrix | llama-perplexity)
        set -- "$TAMIS_PEER/$tool" "$@" -nr -fa off -ctk f32 -ctv f32
        ;;
    llama-*) set -- "$TAMIS_PEER/$tool" "$@" ;;
    gguf-*)
        set -- env PYTHONPATH="$TAMIS_PEER_PY" PYTHONDONTWRITEBYTECODE=1 \
            "$python" -m "gguf.scripts.${tool//-/_}" "$@"
        ;;
    *) set -- "$tool" "$@" ;;
    esac
    local status=0
    "$@" >printed.txt 2>&1 </dev/null || status=$?
    cd "$work" || exit 1
    return $status
}

# has_peer TOOL: it can be run here.
has_peer() {
    case $1 in
    llama-*) [ -x "$TAMIS_PEER/$1" ] ;;
    *) [ -n "${TAMIS_PEER_PY:-}" ] && PYTHONPATH=$TAMIS_PEER_PY PYTHONDONTWRITEBYTECODE=1 \
        "$python" -c 'import gguf' 2>/dev/null ;;
    esac
}

# compare KIND: the verdict on one line; fails when the results differ.
compare() {
    local ours peers
    case $1 in
    'types, keys, sizes')
        ours=$(ls ours/out*.gguf | head -1)
        peers=$(ls peers/out*.gguf | head -1)
        python3 "$TAMIS_SOURCE/tests/compare_gguf.py" "$ours" "$peers"
        ;;
    'exit status') echo "$status_ours / $status_peers" && [ $status_ours = $status_peers ] ;;
    'sums, perplexity')
        python3 "$TAMIS_SOURCE/tests/compare_peer.py" sums ours peers &&
            python3 "$TAMIS_SOURCE/tests/compare_peer.py" perplexity ours peers
        ;;
    *) python3 "$TAMIS_SOURCE/tests/compare_peer.py" "$1" ours peers ;;
    esac
}

n=0 n_failed=0 n_left=0
while IFS=$'\t' read -r peer_command our_command kind; do
    # The commands are words without quotes; a bar in them is escaped in the table.
    read -ra peer_words <<<"${peer_command//'\|'/|}"
    read -ra our_words <<<"${our_command//'\|'/|}"
    [[ $peer_command == ${TAMIS_PEER_LINES:-*} ]] || continue
    if ! has_peer "${peer_words[0]}"; then
        echo "left out   $peer_command"
        n_left=$((n_left + 1))
        continue
    fi
    status_ours=0 status_peers=0
    run "$work/ours" "${our_words[@]}" || status_ours=$?
    # The peer loses its last lines at exit now and then: then it runs again.
    for _ in 1 2 3; do
        status_peers=0
        run "$work/peers" "${peer_words[@]}" || status_peers=$?
        if verdict=$(compare "$kind" 2>&1) && [ $status_ours = 0 ]; then
            break
        fi
        verdict="FAILED: exit $status_ours / $status_peers: $verdict"
    done
    n=$((n + 1))
    case $verdict in
    FAILED*)
        n_failed=$((n_failed + 1))
        tail -n 2 ours/printed.txt peers/printed.txt
        ;;
    esac
    printf '%s\n           %s: %s\n' "$our_command" "$kind" "$(tail -1 <<<"$verdict")"
done < <(sed -n '/^## Option by option/q; s/^| `\(llama-[^`]*\|gguf-[^`]*\)` | `\([^`]*\)` | \([^|]*[^ |]\) *|$/\1\t\2\t\3/p' "$page")

[ $n -ge 10 ] || [ -n "${TAMIS_PEER_LINES:-}" ] || fail "only $n lines of the page could be walked"
[ $n_failed = 0 ] || fail "$n_failed of $n lines differ"
echo "$n lines of the page walked, $n_left left out"
