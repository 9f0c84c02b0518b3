#!/usr/bin/env bash
# Starts a cluster of three nodes on this machine, installs Dragnet by its charts and applies the quickstart.
#
#   play.sh FOLDER    with the programs in FOLDER
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
. "$here/paths.sh"
[[ $# == 1 ]] || { sed -n '2,/^set/ { /^#/ s/^# \{0,1\}//p }' "$0"; exit 64; }
folder=$1
cluster=$here/cluster.sh
tools=$cache/../tools

image=$(mktemp)
trap 'rm -f "$image"' EXIT
echo 'Starting three nodes.'
"$cluster" up 3
echo 'Giving them the image.'
name=$("$here/image.sh" dragnet "$folder" dragnet.test/dragnet "$image")
"$cluster" load "$image"
# The object storage of the quickstart, as its published image has it.
"$here/image.sh" program "$tools/versitygw" ghcr.io/versity/versitygw:v1.8.0 "$image" /usr/local/bin/versitygw >/dev/null
"$cluster" load "$image"

echo 'Installing Dragnet.'
helm() { "$cluster" run helm upgrade --install --create-namespace --namespace dragnet-system "$@" >/dev/null; }
"$cluster" run kubectl create namespace dragnet-system >/dev/null
"$cluster" run kubectl label namespace dragnet-system pod-security.kubernetes.io/enforce=restricted >/dev/null
helm dragnet-crds "$root/charts/dragnet-crds"
helm dragnet "$root/charts/dragnet" --wait --timeout 120s \
    --set image.registry=dragnet.test --set image.repository=dragnet --set image.tag="${name##*:}"
"$cluster" run kubectl apply -f "$root/examples/quickstart/" >/dev/null
cat <<TEXT

The quickstart is on its way:

  e2e/cluster/cluster.sh run bash                      a shell in which kubectl and helm work (no way out of the cluster from there)
  kubectl -n dragnet-quickstart get dragnet            all of it at a glance
  kubectl -n dragnet-quickstart get yararulesets -w    the hunt
  e2e/cluster/cluster.sh down                          ends it; nothing stays
TEXT
