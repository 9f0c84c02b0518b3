#!/usr/bin/env bash
# Makes container images without a container engine and without a registry: a tar that `cluster.sh load` gives to every node. The same
# programs make the same image, byte for byte.
#
#   image.sh program FILE NAME OUT.tar [PATH]    one program, at PATH in the image, which is also what it starts
#   image.sh dragnet FOLDER NAME OUT.tar    all of ours from FOLDER, with what they need of this machine: shared libraries and their
#                                           loader, certificates of public authorities. No shell, no package manager.
#
# A NAME without a tag gets one, made of the content. Prints the whole name. An image of ours is also called `dragnet` with the
# version of this checkout, as the chart and the quickstart name it where nothing else is said.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$here/../..

fail() { printf 'image: %s\n' "$*" >&2; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
files=$work/files

# put FILE PATH: into the image, under that path
put() { install -D -m "${3:-0644}" "$1" "$files$2"; }

# The libraries that programs are linked against, and the loader that starts them; none for a static one.
put_libraries_of() { # FILE...
    local library
    for library in $({ ldd "$@" 2>/dev/null || true; } | grep -o '/[^ ]*\.so[^ :]*' | sort -u); do
        put "$(readlink -f "$library")" "$library" 0755
    done
}

# pack NAME CONFIGURATION OUT [OTHER-NAME]: one layer, in the form that `docker save` writes
pack() {
    local name=$1 architecture digest
    case $(uname -m) in x86_64) architecture=amd64 ;; aarch64) architecture=arm64 ;; *) architecture=$(uname -m) ;; esac
    find "$files" -type d -exec chmod 0755 {} +
    [[ ! -d $files/tmp ]] || chmod 1777 "$files/tmp"
    tar -C "$files" --sort=name --numeric-owner --owner=0 --group=0 --mtime=@0 --format=gnu -cf "$work/layer.tar" .
    digest=$(sha256sum "$work/layer.tar" | cut -d' ' -f1)
    [[ ${name##*/} == *:* ]] || name+=:${digest:0:12}
    printf '{"architecture":"%s","os":"linux","created":"1970-01-01T00:00:00Z","config":%s,"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' \
        "$architecture" "$2" "$digest" >"$work/config.json"
    printf '[{"Config":"config.json","RepoTags":["%s"],"Layers":["layer.tar"]}]' "$name${4:+\",\"$4}" >"$work/manifest.json"
    tar -C "$work" --numeric-owner --owner=0 --group=0 --mtime=@0 --format=gnu -cf "$work/image.tar" manifest.json config.json layer.tar
    cat "$work/image.tar" >"$3" # whoever made the file keeps it
    echo "$name"
}

[[ $# == 4 || $# == 5 ]] || { sed -n '2,/^set/ { /^#/ s/^# \{0,1\}//p }' "$0"; exit 64; }
case $1 in
    program)
        path=${5:-/$(basename "$2")}
        put "$2" "$path" 0755
        put_libraries_of "$2"
        pack "$3" "{\"Entrypoint\":[\"$path\"]}" "$4"
        ;;
    dragnet)
        "$root/tools/image-root.sh" "$2" "$files"
        pack "$3" '{"User":"65532:65532","WorkingDir":"/","Env":["PATH=/","SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt"]}' "$4" \
            "dragnet:$(sed -n '/^\[workspace.package\]/,/^$/ s/^version = "\(.*\)"/\1/p' "$root/Cargo.toml")"
        ;;
    *) fail "an image of what? \`program\` or \`dragnet\`" ;;
esac
