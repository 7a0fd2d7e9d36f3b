#!/usr/bin/env bash
# Configure and build one preset (release unless named): scripts/build.sh [debug|asan|tsan]
# Prints one line when nothing is wrong, the compiler's words when something is.
set -euo pipefail
cd "$(dirname "$0")/.."
preset=${1:-release}

log=$(mktemp)
trap 'rm -f "$log"' EXIT
run() {
    "$@" >"$log" 2>&1 || {
        cat "$log" >&2
        echo "build: '$*' failed" >&2
        exit 1
    }
    grep -n 'warning:' "$log" >&2 || true
}
echo "build: preset $preset"
run cmake --preset "$preset" ${CMAKE_ARGS:-}
run cmake --build --preset "$preset"
