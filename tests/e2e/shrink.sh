#!/usr/bin/env bash
# A model file that is cut while a tool reads it: exit 3, one line that names the file, and nothing
# written. The tool is stopped once it works, the file cut, the tool continued; a tool that was
# faster than the stop is run again.
. "$(dirname "$0")/lib.sh"
dir=$work/out && mkdir "$dir"

# 256 MiB of zeros that take no room on the disk, and seconds to encode without vector code.
python3 - "$work/zeros.gguf" <<'P' || fail "no model of zeros"
import struct, sys
text = lambda s: struct.pack("<Q", len(s)) + s
with open(sys.argv[1], "wb") as f:
    f.write(b"GGUF" + struct.pack("<IQQ", 3, 1, 1))
    f.write(text(b"general.architecture") + struct.pack("<I", 8) + text(b"llama"))
    f.write(text(b"blk.0.ffn_up.weight") + struct.pack("<IQQIQ", 2, 8192, 8192, 0, 0))
    f.truncate((f.tell() + 31) // 32 * 32 + 4 * 8192 * 8192)
P

run_tool() { # tool
    case $1 in
        quantize) TAMIS_CPU=plain exec quantize -t 1 "$work/cut.gguf" "$dir/made.gguf" IQ4_XS ;;
        imatrix) exec imatrix -t 1 -m "$work/cut.gguf" -f "$calibration" -c 256 -o "$dir/made.gguf" ;;
        kld) exec kld -t 1 -m "$work/cut.gguf" -f "$evaluation" -c 256 --base "$dir/made.base" ;;
    esac >"$work/stdout" 2>"$work/stderr"
}

# is_working TOOL: quantize has begun its output; the others have said what they will do.
is_working() {
    case $1 in
        quantize) [ -n "$(find "$dir" -name '.*.tmp')" ] ;;
        *) grep -q chunks "$work/stderr" ;;
    esac
}

# cut_while TOOL SOURCE: 0 when the tool was still at work when its file was cut.
cut_while() {
    cp --sparse=always "$2" "$work/cut.gguf"
    rm -f "$dir"/* "$work/stderr" && : >"$work/stderr"
    (run_tool "$1") &
    local pid=$!
    until is_working "$1"; do
        kill -0 $pid 2>/dev/null || break
        sleep 0.02
    done
    kill -STOP $pid 2>/dev/null
    truncate -s 20000 "$work/cut.gguf"
    kill -CONT $pid 2>/dev/null
    status=0
    wait $pid || status=$?
    [ $status != 0 ]
}

for tool in quantize imatrix kld; do
    source=$model
    [ $tool = quantize ] && source=$work/zeros.gguf
    n_tries=1
    until cut_while $tool "$source"; do
        n_tries=$((n_tries + 1))
        [ $n_tries -le 5 ] || fail "$tool: done before its file was cut, five times"
    done
    [ $status = 3 ] || { cat "$work/stderr" >&2; fail "$tool: exit $status, expected 3"; }
    grep -q "^$tool: .*cut.gguf" "$work/stderr" || { cat "$work/stderr" >&2; fail "$tool: no cause"; }
    [ -z "$(ls -A "$dir")" ] || fail "$tool: left $(ls -A "$dir")"
    echo "$tool: $(grep "^$tool: " "$work/stderr")"
done
