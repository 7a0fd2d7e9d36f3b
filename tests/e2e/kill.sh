#!/usr/bin/env bash
# kill -9 at ten moments of each tool: the old output stays whole, and no temporary can be taken for
# a result. The moments are spread over the tool's own running time.
. "$(dirname "$0")/lib.sh"

run_tool() { # tool output
    case $1 in
        imatrix) exec imatrix -q -m "$model" -f "$calibration" -c 256 --chunks 20 -o "$2" ;;
        quantize) exec quantize -q -t 1 "$model" "$2" Q3_K_M ;;
        kld) exec kld -m "$model" -f "$evaluation" -c 256 --chunks 8 --base "$2" ;;
    esac >/dev/null 2>&1
}

for tool in imatrix quantize kld; do
    out=$work/$tool.gguf
    start=$(date +%s%N)
    (run_tool "$tool" "$out")
    [ -s "$out" ] || fail "$tool wrote nothing"
    took_ms=$((($(date +%s%N) - start) / 1000000))
    # kld reads a base that exists; it must write one here, so each round starts without.
    cp "$out" "$work/whole"
    n_killed=0
    for i in 1 2 3 4 5 6 7 8 9 10; do
        [ "$tool" = kld ] && rm -f "$out"
        (run_tool "$tool" "$out") &
        pid=$!
        # Subshell and tool are one process: run_tool execs.
        sleep "$(printf '0.%03d' $((took_ms * i / 11 % 1000)))"
        kill -9 $pid 2>/dev/null && n_killed=$((n_killed + 1))
        wait $pid 2>/dev/null
        if [ -e "$out" ]; then
            cmp -s "$out" "$work/whole" || fail "$tool: output changed after a kill at moment $i"
        elif [ "$tool" != kld ]; then
            fail "$tool: output vanished after a kill at moment $i"
        fi
        for left in "$work"/*; do
            case $left in *.tmp) fail "$tool: '$left' looks like a result" ;; esac
        done
    done
    echo "$tool: $n_killed of 10 runs of about $took_ms ms were killed; the output stayed whole"
    # The next run clears what the killed ones left.
    rm -f "$out"
    (run_tool "$tool" "$out")
    cmp -s "$out" "$work/whole" || fail "$tool: a run after the kills gives another file"
    no_temporaries "$work"
done
