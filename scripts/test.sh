#!/usr/bin/env bash
# Set up, build and run every test.
#   scripts/test.sh           release build, then the same tests under ASan and UBSan
#   scripts/test.sh --quick   release build only
# Tests that need the reference fixtures (../shared) are reported as skipped without them.
set -euo pipefail
cd "$(dirname "$0")/.."
started=$SECONDS

scripts/setup.sh
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
fi
suite release
echo "test: all passed in $((SECONDS - started)) s"
