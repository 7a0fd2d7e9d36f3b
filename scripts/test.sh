#!/usr/bin/env bash
# Set up, build and run every test.
#   scripts/test.sh           under ASan and UBSan, the fuzzers, the formats on 64-bit ARM, then the
#                             same tests as released
#   scripts/test.sh --quick   release build only
# The fuzzers run TAMIS_FUZZ_SECONDS each (default: 60), where clang 14 is installed; the formats
# run under qemu where it and a compiler for ARM are (both: scripts/setup.sh --clang --arm, as CI).
# Tests that need the reference fixtures (../shared) are reported as skipped without them.
set -euo pipefail
cd "$(dirname "$0")/.."
started=$SECONDS

scripts/setup.sh ${CI:+--clang --arm}
export CMAKE_ARGS=${CI:+-DTAMIS_WERROR=ON}

suite() { # preset
    scripts/build.sh "$1"
    echo "test: $1"
    ctest --preset "$1" --no-tests=error -j "$(nproc)"
}

if [ "${1:-}" != --quick ]; then
    # The sanitizers go first so that CTest's closing lines are those of the release build.
    # Leaks are errors; OpenBLAS keeps its buffers until exit.
    export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1}
    export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
    suite asan
    scripts/fuzz.sh "${TAMIS_FUZZ_SECONDS:-60}"
    scripts/same_bytes_arm.sh
fi
suite release
echo "test: all passed in $((SECONDS - started)) s"
