#!/usr/bin/env bash
# The same bytes on 64-bit ARM: compiles the formats for it with gcc, and with clang 14 where that
# is installed, decodes and encodes every type under qemu with the plain and the NEON kernels, and
# compares all of it with what this machine's own CPU makes.
#   scripts/same_bytes_arm.sh            skipped, which is said, without compiler and emulator
#   scripts/same_bytes_arm.sh --setup    installs them first (Debian packages)
set -euo pipefail
cd "$(dirname "$0")/.."
shared=${TAMIS_SHARED:-../shared}
[ "${1:-}" != --setup ] || scripts/setup.sh --arm

for program in aarch64-linux-gnu-gcc qemu-aarch64; do
    command -v "$program" >/dev/null || {
        echo "same_bytes_arm: skipped, no $program here (scripts/setup.sh --arm)"
        exit 0
    }
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
sources=(tests/format_digests.c base/error.c base/checked.c base/cpu.c base/utf8.c formats/*.c)
flags=(-std=gnu11 -O2 -DNDEBUG -D_GNU_SOURCE -I. -w -Wno-psabi
       -ffp-contract=off -fno-math-errno)

# compile NAME SOURCE_FOLDER COMPILER...: $work/NAME of the formats and one folder of kernels.
# Two compilers at a time; the object files of one program are in a folder of its own.
compile() {
    local name=$1 folder=$2 source extra
    shift 2
    mkdir -p "$work/$name.o"
    for source in "${sources[@]}" "formats/$folder"/*.c; do
        extra=()
        case $source in
        *_avx2.c) extra=(-mavx2 -mf16c) ;;
        *_avx512.c) extra=(-mavx512f -mavx512bw -mavx512vl -mavx512dq -mf16c -mbmi2) ;;
        esac
        while [ "$(jobs -rp | wc -l)" -ge 2 ]; do wait -n; done
        "$@" "${flags[@]}" "${extra[@]}" -c "$source" \
            -o "$work/$name.o/$(basename "$source" .c).o" &
    done
    while [ "$(jobs -rp | wc -l)" -gt 0 ]; do wait -n; done
    "$@" "$work/$name.o"/*.o -lm -o "$work/$name"
}

vectors=()
[ -f "$shared/reference/decode-vectors.txt" ] && vectors=("$shared/reference/decode-vectors.txt")
n_compared=0

# compare NAME LEVEL COMMAND...: its lines must be those of the first.
compare() {
    local name=$1 level=$2
    shift 2
    TAMIS_CPU=$level "$@" "${vectors[@]}" >"$work/lines" 2>"$work/words" || {
        tail -3 "$work/lines" "$work/words" >&2
        echo "same_bytes_arm: $name, $level: failed" >&2
        exit 1
    }
    [ "$(tail -1 "$work/words")" = "$level" ] || return 0 # this CPU lacks it
    if [ ! -f "$work/first" ]; then
        mv "$work/lines" "$work/first"
    elif ! diff "$work/first" "$work/lines" >"$work/words"; then
        head -20 "$work/words" >&2
        echo "same_bytes_arm: $name, $level: not the bytes of this machine" >&2
        exit 1
    fi
    n_compared=$((n_compared + 1))
}

machine=$(uname -m)
if [ "$machine" = x86_64 ]; then
    echo "same_bytes_arm: here"
    compile native x86 gcc
    for level in plain avx2 avx512; do
        compare "$machine" "$level" "$work/native"
    done
fi
compilers=(aarch64-linux-gnu-gcc)
command -v clang-14 >/dev/null && compilers+=("clang-14 --target=aarch64-linux-gnu")
for compiler in "${compilers[@]}"; do
    echo "same_bytes_arm: ${compiler%% *} for aarch64, under qemu"
    # shellcheck disable=SC2086 # a compiler and its option
    compile arm arm $compiler -static
    for level in plain neon; do
        compare "aarch64, ${compiler%% *}" "$level" qemu-aarch64 "$work/arm"
    done
done
echo "same_bytes_arm: $(wc -l <"$work/first") digests from $n_compared kinds of kernels, all the same ($SECONDS s)"
