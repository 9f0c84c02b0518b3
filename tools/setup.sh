#!/usr/bin/env bash
# Makes sure that this machine can build, test and measure Dragnet. Safe to repeat; takes a moment when nothing is missing.
#
#   tools/setup.sh build    what building, and so the demo, needs
#   tools/setup.sh          that, and what tests and benches need: peers, foreign clients, a server for object
#                           storage, a Kubernetes cluster
#
# On Debian and its kin, missing packages are installed when we are root or sudo asks for no password; else the one command to
# run is printed. Rust is never installed from here: that is the user's toolchain.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf 'setup: %s\n' "$*"; }
fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }
PATH=$PATH:/usr/sbin:/sbin # where Debian has what only root needs

# The C compiler finds OpenSSL's headers: libyara's hash module is built against them.
have_openssl_headers() { echo '#include <openssl/evp.h>' | gcc -E - >/dev/null 2>&1; }

# RocksDB's bindings are made while it is built, by a clang that is loaded as a library and has its own headers beside it.
have_libclang() {
    compgen -G '/usr/lib/llvm-*/lib/libclang*.so*' >/dev/null && compgen -G '/usr/lib/llvm-*/lib/clang/*/include/stddef.h' >/dev/null
}

# A virtual environment gets its own pip, from a package of its own on Debian.
have_venv() { python3 -c 'import ensurepip, venv' >/dev/null 2>&1; }

# Debian names of what is missing, in `missing`.
find_missing() {
    missing=()
    have gcc || missing+=(gcc libc6-dev)
    have g++ || missing+=(g++)
    have make || missing+=(make)
    have pkg-config || missing+=(pkg-config)
    have mold || missing+=(mold)
    have_openssl_headers || missing+=(libssl-dev)
    have git || missing+=(git)
    have_libclang || missing+=(libclang-dev)
    [ "$for" = everything ] || return 0
    have yara || missing+=(yara) # the peers in benches and in tests that compare answers
    have chrt || missing+=(util-linux)
    have redis-server || missing+=(redis-server)
    have redis-cli && have redis-benchmark || missing+=(redis-tools)
    # Clients that the key-value server must get along with; the tests install them by their lock files.
    have python3 && have_venv || missing+=(python3-venv)
    have node || missing+=(nodejs)
    have npm || missing+=(npm)
    # Nodes of the cluster that tests run on: containers, their networks, keys. The rest is built from published Go modules.
    have containerd || missing+=(containerd)
    have runc || missing+=(runc)
    [ -x /usr/lib/cni/bridge ] || missing+=(containernetworking-plugins)
    have iptables || missing+=(iptables)
    have ip && have ss || missing+=(iproute2)
    have openssl || missing+=(openssl)
    have pgrep && have sysctl || missing+=(procps)
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
    local service services=()
    for service in redis-server containerd; do
        case " ${missing[*]} " in *" $service "*) services+=("$service.service") ;; esac
    done
    [ "${#services[@]}" -eq 0 ] || without_starting "${as_root[@]}"
    # The package lists are fetched only when the ones here do not do: that is the slow part.
    "${install[@]}" || { "${apt[@]}" update && "${install[@]}"; } ||
        fail "apt-get could not install ${missing[*]}"
    if [ "${#services[@]}" -gt 0 ]; then
        # Tests start their own. A machine that is only to build needs none that runs for ever.
        have systemctl && "${as_root[@]}" systemctl --quiet disable "${services[@]}" >/dev/null 2>&1 || true
        [ -z "$policy" ] || "${as_root[@]}" rm -f "$policy"
    fi
}

# Debian starts a service when it is installed, unless this file says no. One that is there already is its owner's business.
policy=
without_starting() {
    [ ! -e /usr/sbin/policy-rc.d ] || return 0
    policy=/usr/sbin/policy-rc.d
    trap '[ -z "$policy" ] || '"$*"' rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' | "$@" tee "$policy" >/dev/null
    "$@" chmod +x "$policy"
}

# An S3 server for tests, from the Go modules' registry, beside everything else that we keep in the cache.
versitygw=github.com/versity/versitygw/cmd/versitygw@v1.8.0
install_versitygw() {
    local tools=${XDG_CACHE_HOME:-$HOME/.cache}/dragnet/tools
    [ ! -x "$tools/versitygw" ] || return 0
    have go || PATH=$PATH:/usr/local/go/bin
    have go || fail "Go is needed for the tests of object storage and of Go clients: install your distribution's golang, or see https://go.dev"
    say "building ${versitygw##*/}, which takes some minutes"
    GOFLAGS=-gcflags=all=-dwarf=false GOBIN=$tools go install "$versitygw" || fail "go could not install $versitygw"
}

# A Kubernetes cluster for tests, from the same registry.
build_cluster() {
    ! e2e/cluster/build.sh --check || return 0
    have go || PATH=$PATH:/usr/local/go/bin
    say "building the programs of a Kubernetes cluster, which takes ten minutes the first time"
    e2e/cluster/build.sh >/dev/null || fail "the programs of a Kubernetes cluster could not be built"
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

case ${1:-everything} in
    build | everything) for=${1:-everything} ;;
    *) fail "say \`build\`, or nothing" ;;
esac
find_missing
if [ "${#missing[@]}" -gt 0 ]; then
    have apt-get || fail "missing (named as on Debian; please install them your system's way): ${missing[*]}"
    install_missing
    find_missing
    [ "${#missing[@]}" -eq 0 ] || fail "still missing after installing: ${missing[*]}"
fi
check_rust
if [ "$for" = everything ]; then
    install_versitygw
    build_cluster
fi
say "everything needed is here"
