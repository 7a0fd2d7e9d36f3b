#!/usr/bin/env bash
# Install what building and testing Tamis needs (Debian 12 packages). Safe to run again: it
# asks apt only for what is missing.
#   scripts/setup.sh          build and test packages
#   scripts/setup.sh --clang  also clang 14 with its sanitizer runtime (second compiler, fuzzers)
#   scripts/setup.sh --arm    also a compiler and an emulator for 64-bit ARM (scripts/same_bytes_arm.sh)
# Both may be given.
set -euo pipefail

packages=(gcc cmake ninja-build pkg-config
          libopenblas-dev libzstd-dev libxxhash-dev libcjson-dev libpcre2-dev libssl-dev
          libcmocka-dev python3)
for option in "$@"; do
    case $option in
    --clang) packages+=(clang-14 libclang-rt-14-dev) ;;
    --arm) packages+=(gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user) ;;
    *)
        echo "setup: '$option' is neither --clang nor --arm" >&2
        exit 2
        ;;
    esac
done

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
command -v apt-get >/dev/null || {
    echo "setup: no apt-get here; install the counterparts of: ${missing[*]}" >&2
    exit 4
}
as_root=()
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || {
        echo "setup: these packages are missing: ${missing[*]}" >&2
        echo "setup: run scripts/setup.sh once as root, or install sudo" >&2
        exit 4
    }
    as_root=(sudo)
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT

# Draws apt's status lines as one changing line, on a terminal only.
show_progress() {
    local line what
    while IFS= read -r line; do
        case $line in
        dlstatus:*) what='fetching packages' ;;
        pmstatus:*) what='installing packages' ;;
        *) continue ;;
        esac
        [[ -t 2 && ${TERM:-dumb} != dumb && $line =~ :([0-9]+)\.[0-9]+: ]] || continue
        printf '\r\033[K  %s %3d%%' "$what" "${BASH_REMATCH[1]}" >&2
    done
    [[ -t 2 && ${TERM:-dumb} != dumb ]] && printf '\r\033[K' >&2
    return 0
}

# The lock may be held by the system's own updates: wait for it rather than fail.
apt() {
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -y -qq \
        -o DPkg::Lock::Timeout=300 -o APT::Status-Fd=1 "$@" 2>&1 | tee -a "$log" |
        show_progress || {
        grep -Ev '^(dl|pm)status:' "$log" >&2
        echo "setup: apt-get $1 failed" >&2
        exit 4
    }
}

echo "setup: installing ${missing[*]}"
apt update
apt install --no-install-recommends "${missing[@]}"
echo "setup: done in $SECONDS s"
