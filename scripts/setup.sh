#!/usr/bin/env bash
# Install what building and testing Tamis needs (Debian 12 packages). Safe to run again: it
# asks apt only for what is missing.
#   scripts/setup.sh          build and test packages
#   scripts/setup.sh --clang  also clang 14 with its sanitizer runtime (second compiler, fuzzers)
set -euo pipefail

packages=(gcc cmake ninja-build pkg-config
          libopenblas-dev libzstd-dev libxxhash-dev libcjson-dev libpcre2-dev libssl-dev
          libcmocka-dev python3-minimal)
[ "${1:-}" = --clang ] && packages+=(clang-14 libclang-rt-14-dev)

is_installed() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

missing=()
for package in "${packages[@]}"; do
    is_installed "$package" || missing+=("$package")
done
if [ ${#missing[@]} -eq 0 ]; then
    echo "setup: all ${#packages[@]} packages are installed"
    exit 0
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || {
        echo "setup: needs root to install: ${missing[*]}" >&2
        echo "setup: run it as root, or install sudo" >&2
        exit 4
    }
    as_root=(sudo)
fi
command -v apt-get >/dev/null || {
    echo "setup: no apt-get here; install the counterparts of: ${missing[*]}" >&2
    exit 4
}

echo "setup: installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
# The lock may be held by the system's own updates: wait for it rather than fail.
"${as_root[@]}" apt-get -o DPkg::Lock::Timeout=120 -qq update
"${as_root[@]}" apt-get -o DPkg::Lock::Timeout=300 -qq install -y --no-install-recommends \
    "${missing[@]}" >/dev/null
echo "setup: done"
