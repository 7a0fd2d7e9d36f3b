#!/usr/bin/env bash
# Configure and build one preset (release unless named): scripts/build.sh [debug|asan|tsan]
# On a terminal Ninja's status line shows how far it is; elsewhere two lines when nothing is
# wrong, the compiler's words when something is.
set -euo pipefail
cd "$(dirname "$0")/.."
preset=${1:-release}

log=$(mktemp)
trap 'rm -f "$log"' EXIT
fail() { # COMMAND...
    cat "$log" >&2
    echo "build: '$*' failed" >&2
    exit 1
}
run() {
    "$@" >"$log" 2>&1 || fail "$@"
    grep -n 'warning:' "$log" >&2 || true
}
echo "build: preset $preset"
run cmake --preset "$preset" ${CMAKE_ARGS:-}
if [[ -t 1 && ${TERM:-dumb} != dumb ]]; then
    : >"$log"
    NINJA_STATUS='  [%f/%t] ' cmake --build --preset "$preset" || fail cmake --build
else
    run cmake --build --preset "$preset"
fi
echo "build: done in $SECONDS s"
