# lib.sh - sourced by the end-to-end scripts: paths, a temporary folder, small assertions.
set -u
: "${TAMIS_BIN:?folder of the built tools}" "${TAMIS_SOURCE:?source tree}"
PATH=$TAMIS_BIN:$PATH
model=$TAMIS_SOURCE/testdata/tiny-qwen3.gguf
calibration=$TAMIS_SOURCE/testdata/calibration.txt
evaluation=$TAMIS_SOURCE/testdata/evaluation.txt
work=$(mktemp -d "${TMPDIR:-/tmp}/tamis-e2e-XXXXXX")
trap 'rm -rf "$work"' EXIT

fail() {
    echo "FAIL: $*" >&2
    exit 1
}

# skip REASON: reported as skipped by CTest.
skip() {
    echo "skipped: $*"
    exit 77
}

# expect STATUS PATTERN COMMAND...: the exit status, one line on stderr that matches PATTERN.
expect() {
    local want=$1 pattern=$2 got=0
    shift 2
    "$@" >"$work/stdout" 2>"$work/stderr" || got=$?
    [ "$got" = "$want" ] || {
        cat "$work/stderr" >&2
        fail "exit $got, expected $want: $*"
    }
    grep -Eq -- "$pattern" "$work/stderr" || {
        cat "$work/stderr" >&2
        fail "no '$pattern' on stderr: $*"
    }
    # Bad usage adds a line that points to --help; everything else is one line.
    local lines
    lines=$(grep -Evc "^try '|^warning: " "$work/stderr")
    [ "$lines" = 1 ] || {
        cat "$work/stderr" >&2
        fail "$lines lines on stderr, expected 1: $*"
    }
}

# no_temporaries DIR: nothing half-written is left.
no_temporaries() {
    local left
    left=$(find "$1" -name '.*.tmp' | head -3)
    [ -z "$left" ] || fail "left behind: $left"
}

# types FILE: "name type" of every tensor, in order of the file; of a set, of all its files
types() {
    gguf show --json - "$1" | awk -F'"' '/^  "tensors"/ { inside = 1 }
        inside && $2 == "name" { name = $4 }
        inside && $2 == "type" { print name, $4 }'
}
# has FILE NAME TYPE: a tensor of FILE has that type
has() {
    types "$1" | grep -x "$2 $3" >/dev/null || fail "$1: $2 is not $3: $(types "$1" | grep "^$2 ")"
}
# make OPTIONS...: quantize, its warnings in warnings.txt
make() {
    quantize -q "$@" 2>>warnings.txt || fail "quantize $*: $(tail -1 warnings.txt)"
}
