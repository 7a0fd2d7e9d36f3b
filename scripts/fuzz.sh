#!/usr/bin/env bash
# Run the fuzzers of tests/fuzz/, two at a time, under ASan, UBSan and the leak checker.
#   scripts/fuzz.sh [SECONDS] [TARGET...]     60 seconds each and all targets unless named
# Inputs start from tests/fuzz/corpus/TARGET/ and small reference files (../shared, when there);
# what the fuzzer adds stays in build-fuzz/corpus/, inputs that crash in build-fuzz/crashes/.
# One line per target; exit 1 on any crash, leak, hang or allocation over the limit. Without clang
# 14 and its libFuzzer (scripts/setup.sh --clang) nothing is run, which is said.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-60}
shift || true
shared=${TAMIS_SHARED:-../shared}
build=build-fuzz
[[ $seconds =~ ^[0-9]+$ ]] || {
    echo "fuzz: '$seconds' is no number of seconds: scripts/fuzz.sh [SECONDS] [TARGET...]" >&2
    exit 2
}
if ! echo 'int LLVMFuzzerTestOneInput(void); int LLVMFuzzerTestOneInput(void) { return 0; }' |
    clang-14 -fsanitize=fuzzer,address -x c - -o /dev/null 2>/dev/null; then
    echo "fuzz: skipped, no clang-14 with libFuzzer here (scripts/setup.sh --clang)"
    exit 0
fi
scripts/build.sh fuzz

targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
    for source in tests/fuzz/fuzz_*.c; do
        targets+=("$(basename "$source" .c)")
    done
fi
for i in "${!targets[@]}"; do
    targets[i]=fuzz_${targets[i]#fuzz_}
    [ -x "$build/tests/${targets[i]}" ] || {
        echo "fuzz: there is no target '${targets[i]}'" >&2
        exit 2
    }
done

# seed TARGET: fills $build/seeds/TARGET with small files of its kind. Larger ones only slow it down.
seed() {
    local folder=$build/seeds/$1 f found=() f_name
    rm -rf "$folder"
    mkdir -p "$folder" "$build/corpus/$1"
    local fixtures=$shared/fixtures
    case $1 in
    fuzz_gguf) found=("$fixtures"/gguf/*/*.gguf) ;;
    fuzz_imatrix) found=("$fixtures"/imatrix/*.dat "$fixtures"/imatrix/*.gguf
                         "$fixtures"/imatrix/bad/*) ;;
    fuzz_kld_base) found=("$fixtures"/imatrix/*.base "$fixtures"/imatrix/bad/*.base) ;;
    fuzz_tokenize*) found=("$fixtures"/tokenizers/*.gguf "$fixtures"/gguf/valid/*.gguf) ;;
    esac
    for f in "tests/fuzz/corpus/$1"/* "${found[@]}"; do
        [ -f "$f" ] && [ "$(stat -c %s "$f")" -le 65536 ] || continue
        f_name=$(printf '%s' "$f" | tr '/' '_')
        cp "$f" "$folder/$f_name"
    done
}

# fuzz TARGET: runs one; its words are in $build/logs/TARGET.
fuzz() {
    local status=0
    "$build/tests/$1" -max_total_time="$seconds" -max_len=65536 -timeout=20 -rss_limit_mb=2048 \
        -malloc_limit_mb=256 -detect_leaks=1 -print_final_stats=1 -verbosity=1 \
        -artifact_prefix="$build/crashes/$1-" \
        "$build/corpus/$1" "$build/seeds/$1" >"$build/logs/$1" 2>&1 || status=$?
    echo $status >"$build/logs/$1.status"
}

# report TARGET: one line; fails when it crashed.
report() {
    local log=$build/logs/$1 status runs rate crashes
    status=$(cat "$log.status")
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    rate=$(sed -n 's/^stat::average_exec_per_sec: *//p' "$log")
    crashes=$(find "$build/crashes" -name "$1-*" -newer "$build/logs/start" | wc -l)
    printf 'fuzz: %-20s %10s runs %8s/s %7s inputs %4s crashes\n' "$1" "${runs:-?}" "${rate:-?}" \
        "$(find "$build/corpus/$1" -type f | wc -l)" "$crashes"
    [ "$status" = 0 ] && return 0
    grep -m 3 -E '^SUMMARY|ERROR|runtime error|libFuzzer: ' "$log" | sed 's/^/fuzz:   /'
    find "$build/crashes" -name "$1-*" -newer "$build/logs/start" | sed 's/^/fuzz:   input: /'
    return 1
}

mkdir -p "$build/crashes" "$build/logs"
touch "$build/logs/start"
export ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=1
export UBSAN_OPTIONS=print_stacktrace=1
echo "fuzz: ${#targets[@]} targets, $seconds s each, two at a time"
for target in "${targets[@]}"; do
    seed "$target"
    while [ "$(jobs -rp | wc -l)" -ge 2 ]; do
        wait -n
    done
    fuzz "$target" &
done
wait
failed=0
for target in "${targets[@]}"; do
    report "$target" || failed=1
done
exit $failed
