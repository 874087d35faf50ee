#!/bin/sh
# Checks the tools that the build needs, then has libtorch.py find, fetch or verify libtorch.
#   scripts/setup.sh --rust-only   only what rescom-sim and everything without the feature `train` needs
# Environment: LIBTORCH (use this libtorch), DEVICE (cpu or cuda), WHEELS (folder with wheels, for machines
# without a network). Every failure is one line that says how to mend it, and exit code 1.
set -eu
cd "$(dirname "$0")/.."

fail() {
    echo "setup: $*" >&2
    exit 1
}

needed=$(sed -n 's/^rust-version *= *"\(.*\)"/\1/p' Cargo.toml)
command -v cargo >/dev/null && command -v rustc >/dev/null ||
    fail "no Rust toolchain (cargo, rustc) in PATH; install Rust $needed or newer from https://rustup.rs"
found=$(rustc --version 2>/dev/null | cut -d' ' -f2)
[ -n "$found" ] || fail "\`rustc --version\` fails; install a toolchain: \`rustup default stable\`"
oldest=$(printf '%s\n%s\n' "$needed" "${found%%-*}" | sort -t. -k1,1n -k2,2n | head -n 1)
[ "$oldest" = "$needed" ] || fail "rustc $found is too old, rescom needs $needed or newer: \`rustup update stable\`"
command -v cc >/dev/null ||
    fail "no C compiler \`cc\` (Rust links with it); Debian, Ubuntu: \`apt install g++\`; Fedora: \`dnf install gcc-c++\`; macOS: \`xcode-select --install\`"
[ "${1:-}" != --rust-only ] || exit 0

command -v "${CXX:-c++}" >/dev/null ||
    fail "no C++ compiler \`${CXX:-c++}\` (the feature \`train\` compiles against libtorch); Debian, Ubuntu: \`apt install g++\`; Fedora: \`dnf install gcc-c++\`"
system="$(uname -s) $(uname -m)"
if [ -z "${LIBTORCH:-}" ] && [ "$system" != "Linux x86_64" ]; then
    fail "libtorch is fetched for x86-64 Linux only, this is $system. Without it \`make sim\`, \`cargo test\` and all that needs no feature \`train\` work; for the training programs bring libtorch 2.11.0 yourself (the folder \`torch\` of \`pip install torch==2.11.0\` is one) and run \`LIBTORCH=that/folder make setup\`"
fi
command -v python3 >/dev/null ||
    fail "no python3 (it unpacks libtorch); Debian, Ubuntu: \`apt install python3 python3-pip\`; Fedora: \`dnf install python3-pip\`"
python3 -c 'import sys; sys.exit(sys.version_info < (3, 9))' ||
    fail "$(python3 --version) is too old, 3.9 or newer is needed to unpack libtorch"
exec python3 scripts/libtorch.py ${DEVICE:+--device "$DEVICE"} ${WHEELS:+--wheels "$WHEELS"}
