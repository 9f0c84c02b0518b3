#!/usr/bin/env bash
# Makes sure that this machine can build, test and measure Dragnet. Safe to repeat; takes a moment when nothing is missing.
#
# On Debian and its kin, missing packages are installed when we are root or sudo asks for no password; else the one command to
# run is printed. Rust is never installed from here: that is the user's toolchain.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf 'setup: %s\n' "$*"; }
fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# The C compiler finds OpenSSL's headers: libyara's hash module is built against them.
have_openssl_headers() { echo '#include <openssl/evp.h>' | gcc -E - >/dev/null 2>&1; }

# Debian names of what is missing, in `missing`. libyara's bindings are bundled with its crate, so no clang is needed.
find_missing() {
    missing=()
    have gcc || missing+=(gcc libc6-dev)
    have g++ || missing+=(g++)
    have make || missing+=(make)
    have pkg-config || missing+=(pkg-config)
    have mold || missing+=(mold)
    have_openssl_headers || missing+=(libssl-dev)
    have git || missing+=(git)
    have yara || missing+=(yara) # the peer in benches and in tests that compare answers
}

install_missing() {
    local as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        have sudo && sudo -n true 2>/dev/null ||
            fail "please run: sudo apt-get update && sudo apt-get install -y --no-install-recommends ${missing[*]}"
        as_root=(sudo -n)
    fi
    local apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o Dpkg::Use-Pty=0)
    local install=("${apt[@]}" install -y --no-install-recommends "${missing[@]}")
    say "installing ${missing[*]}"
    # The package lists are fetched only when the ones here do not do: that is the slow part.
    "${install[@]}" || { "${apt[@]}" update && "${install[@]}"; } ||
        fail "apt-get could not install ${missing[*]}"
}

# Whether version $1 is at least version $2.
at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

check_rust() {
    local needed install
    needed=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    install="rustup toolchain install stable --component clippy,rustfmt && rustup default stable"
    have rustup || install="install rustup (https://rustup.rs, or your distribution's package), then run: $install"
    have cargo && have rustc || fail "Rust $needed or newer is needed: $install"
    local found
    found=$(rustc --version | cut -d ' ' -f 2)
    at_least "${found%%-*}" "$needed" || fail "Rust $needed or newer is needed, this is $found: $install"
    cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1 ||
        fail "rustfmt and clippy are needed: rustup component add rustfmt clippy"
}

find_missing
if [ "${#missing[@]}" -gt 0 ]; then
    have apt-get || fail "missing (named as on Debian; please install them your system's way): ${missing[*]}"
    install_missing
    find_missing
    [ "${#missing[@]}" -eq 0 ] || fail "still missing after installing: ${missing[*]}"
fi
check_rust
say "everything needed is here"
