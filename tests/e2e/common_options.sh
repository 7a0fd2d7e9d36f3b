#!/usr/bin/env bash
# What every tool and every sub-command does the same way: --help with examples, --version, --man,
# an unknown option, a missing input, --json -, --quiet, --threads, --mem, colours and progress on
# a terminal only. The sub-commands are those the tools' own completion names, so a new one is
# walked without a change here; it needs a row in `usual` when FILE alone is no complete command.
. "$(dirname "$0")/lib.sh"
tools="gguf imatrix quantize kld"
cd "$work" || exit 1
head -c 6000 "$evaluation" >text.txt
cp "$model" model.gguf
imatrix -q -m model.gguf -f text.txt -c 64 --chunks 2 -o im.gguf >/dev/null || fail "imatrix"
quantize -q model.gguf small.gguf Q8_0 || fail "quantize"
gguf split -q --max-tensors 40 model.gguf part || fail "gguf split"
cp model.gguf edited.gguf

# usual COMMAND...: sets args to the arguments of a usual run.
usual() {
    args=(model.gguf)
    case "$*" in
    imatrix) args=(-m model.gguf -f text.txt -c 64 --chunks 2 -o out.gguf) ;;
    "imatrix show" | "imatrix statistics") args=(im.gguf) ;;
    "imatrix diff") args=(im.gguf im.gguf) ;;
    "imatrix merge") args=(-o merged.gguf im.gguf im.gguf) ;;
    quantize) args=(model.gguf out.gguf Q4_0) ;;
    kld) args=(-m model.gguf -q small.gguf -f text.txt -c 64 --chunks 2) ;;
    "gguf diff") args=(model.gguf model.gguf) ;;
    "gguf split") args=(model.gguf out) ;;
    "gguf merge") args=(part-00001-of-00002.gguf out.gguf) ;;
    "gguf set") args=(edited.gguf general.url=about:blank) ;;
    "gguf unset") args=(edited.gguf --lax general.doi) ;;
    esac
}

# missing: args with the first existing file replaced by one that does not exist.
missing() {
    local i
    for i in "${!args[@]}"; do
        if [ -e "${args[i]}" ]; then
            args[i]=no-such-file.gguf
            return
        fi
    done
}

# quietly WHAT COMMAND...: exit 0 and nothing on stderr; stdout in the file `out`.
quietly() {
    local what=$1
    shift
    local status=0
    "$@" >out 2>err || status=$?
    [ $status = 0 ] || { cat err >&2; fail "$what: exit $status: $*"; }
    [ ! -s err ] || fail "$what: '$(head -1 err)' on stderr: $*"
}

check_pages() {
    quietly --help "$@" --help
    grep -q '^Examples:' out || fail "$* --help has no examples"
    head -1 out | grep -q "^$* - ." || fail "$* --help: '$(head -1 out)'"
    sed -n '/^Examples:/,/^Exit codes:/p' out | grep -q "^  $1 " || fail "$*: no example runs $1"
    local option
    for option in --threads --mem --json --quiet --help --version --man --completion; do
        grep -q -- " $option\b" out || fail "$* --help does not name $option"
    done
    quietly --version "$@" --version
    grep -Eqx "$* \(Tamis\) [0-9]+\.[0-9]+\.[0-9]+, kernels: (plain|neon|avx2|avx512)" out ||
        fail "$* --version: '$(cat out)'"
    TAMIS_CPU=plain quietly --version "$@" --version
    grep -q ', kernels: plain$' out || fail "$* --version with TAMIS_CPU=plain: '$(cat out)'"
    quietly --man "$@" --man
    mv out page.1
    grep -q '^\.SH EXAMPLES' page.1 || fail "$* --man has no examples"
    if command -v groff >/dev/null; then
        groff -man -ww -Tutf8 -z page.1 >lint 2>&1
        [ ! -s lint ] || fail "$* --man: $(head -1 lint)"
    fi
    if command -v mandoc >/dev/null; then
        ! mandoc -T lint -W warning page.1 | grep -v 'missing date' >lint ||
            fail "$* --man: $(head -1 lint)"
    fi
}

check_mistakes() {
    expect 2 "unknown option '--hepl'.*--help" "$@" --hepl
    expect 2 "--threads: 'x' is not a whole number" "$@" --threads x
    expect 2 "--mem: 'x' is not a size" "$@" --mem x
    usual "$@"
    missing
    expect 3 "no-such-file.gguf" "$@" "${args[@]}"
}

check_run() {
    usual "$@"
    local quiet=-q
    [ "$1" != kld ] || quiet=--quiet
    quietly "$quiet" "$@" "${args[@]}" $quiet
    quietly "--json - $quiet" "$@" "${args[@]}" --json - $quiet
    python3 -m json.tool out >/dev/null || fail "$* --json -: not JSON, or not JSON alone"
    "$@" "${args[@]}" --json result.json --threads 1 --mem 1G >out 2>err || fail "$* --json FILE"
    python3 -m json.tool result.json >/dev/null || fail "$* --json FILE: not JSON"
    # Not a terminal: whole lines, no colours, nothing drawn again.
    ! cat out err | grep -q $'[\r\033]' || fail "$*: terminal codes in a file"
    no_temporaries .
}

# on_terminal COMMAND...: what the command writes to a terminal, in the file `screen`.
on_terminal() {
    TERM=xterm python3 - "$@" >screen <<'P'
import os, pty, sys
pty.spawn(sys.argv[1:], lambda fd: os.read(fd, 4096), lambda fd: b"")
P
}

n=0
for tool in $tools; do
    parts=$("$tool" --completion bash | sed -n "s/^    \([a-z-]*\)) __${tool}_.*/\1/p")
    for part in "" $parts; do
        command=("$tool" ${part:+"$part"})
        check_pages "${command[@]}"
        # A tool of sub-commands alone does nothing by itself.
        if [ -z "$part" ] && [ "$tool" = gguf ]; then
            expect 2 "no sub-command given" gguf
            expect 2 "unknown sub-command 'sohw'.*'show'" gguf sohw
            continue
        fi
        check_mistakes "${command[@]}"
        check_run "${command[@]}"
        n=$((n + 1))
    done
done

# A warning is coloured on a terminal, and not with NO_COLOR; the progress bar is drawn there only.
long=(imatrix -m model.gguf -f text.txt -c 64 --mem 1M -o out.gguf)
on_terminal "${long[@]}" || fail "no terminal"
grep -q $'\033\[33mwarning:' screen || fail "a warning on a terminal has no colour"
grep -q $'\r\033\[K.*%' screen || fail "no progress on a terminal"
NO_COLOR=1 on_terminal "${long[@]}"
grep -q warning: screen || fail "no warning"
! grep -q $'\033\[33m' screen || fail "colour with NO_COLOR"
on_terminal "${long[@]}" --quiet
! grep -q '%' screen || fail "progress with --quiet"
echo "$n commands walked"
