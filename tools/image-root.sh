#!/usr/bin/env bash
# Lays out the files of Dragnet's image: all programs, what they need of this machine (shared libraries and their loader, certificates
# of public authorities), licences and the bill of materials. No shell, no package manager.
#
#   image-root.sh PROGRAMS ROOT    from the folder that cargo built into, to a folder that is to be the image's root
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ours=(orchestrator scan-worker kv-server dragnet operator statsd-filter)

fail() { printf 'image-root: %s\n' "$*" >&2; exit 1; }

[[ $# == 2 ]] || { sed -n '2,/^set/ { /^#/ s/^# \{0,1\}//p }' "$0"; exit 64; }
programs=$1 root=$2
[[ ! -e $root ]] || fail "$root exists already"

# put FILE PATH MODE: into the image, under that path. A link would lead nowhere, so what it leads to is taken.
put() { install -D -m "$3" "$(readlink -f "$1")" "$root$2"; }

for name in "${ours[@]}"; do
    [[ -x $programs/$name ]] || fail "$programs/$name is missing: cargo build --release --workspace --bins"
    install -d "$root"
    # Functions keep their names, for traces back; lines of sources are hundreds of megabytes.
    strip --strip-debug -o "$root/$name" "$programs/$name"
    chmod 0755 "$root/$name"
done
# Libraries that a program is linked against, and the loader that starts it.
for library in $(ldd "${ours[@]/#/$programs/}" | grep -o '/[^ ]*\.so[^ ]*' | grep -v ':$' | sort -u); do
    put "$library" "$library" 0755
done
put /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt 0644
install -d "$root/etc" "$root/usr/share/doc/dragnet" "$root/data"
install -d -m 1777 "$root/tmp"
printf 'root:x:0:0::/:/none\nnonroot:x:65532:65532::/:/none\n' >"$root/etc/passwd"
printf 'root:x:0:\nnonroot:x:65532:\n' >"$root/etc/group"
printf 'hosts: files dns\n' >"$root/etc/nsswitch.conf"
"$here/sbom.sh" >"$root/usr/share/doc/dragnet/sbom.cdx.json"
put "$here/../LICENSE" /usr/share/doc/dragnet/LICENSE 0644
put "$here/../NOTICE" /usr/share/doc/dragnet/NOTICE 0644
