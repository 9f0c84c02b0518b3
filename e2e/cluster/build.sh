#!/usr/bin/env bash
# Builds the programs of a Kubernetes cluster from their published Go modules into the cache: ten minutes from cold on two cores,
# a moment when nothing here has changed. Prints the folder that holds them.
#
#   build.sh          build what is missing or older than its sources
#   build.sh --check  only say, by the exit code, whether everything is there
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/paths.sh"

helm=helm.sh/helm/v4/cmd/helm@v4.3.1
kubeconform=github.com/yannh/kubeconform/cmd/kubeconform@v0.8.0

# Programs that are built together, by what they are built from. A group is built again when that changes.
groups=(kubernetes coredns provisioner pause helm kubeconform)
sources_of() { # GROUP
    case $1 in
        helm) echo "$helm" ;;
        kubeconform) echo "$kubeconform" ;;
        *) cd "$here/programs/$1" && sha256sum ./* ;;
    esac
    declare -f build_group
}
stamp_of() { sources_of "$1" | sha256sum | cut -d' ' -f1; }
is_built() { [[ $(cat "$programs/.built/$1" 2>/dev/null) == $(stamp_of "$1") ]]; }

build() { # FOLDER ARGUMENTS...
    local folder=$here/programs/$1
    shift
    (cd "$folder" && go build -mod=mod -trimpath "$@")
}

build_group() { # GROUP
    case $1 in
        kubernetes)
            local version minor flags= package
            version=$(cd "$here/programs/kubernetes" && go list -mod=mod -m -f '{{.Version}}' k8s.io/kubernetes)
            minor=${version#v1.} minor=${minor%%.*}
            # Without these the API server says that it is v0.0.0, and Helm refuses charts that name a minimal version.
            for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
                flags+=" -X $package.gitVersion=$version -X $package.gitMajor=1 -X $package.gitMinor=$minor"
                flags+=" -X $package.gitTreeState=clean"
            done
            build kubernetes -ldflags "-s -w$flags" -o "$programs/" \
                k8s.io/kubernetes/cmd/{kube-apiserver,kube-controller-manager,kube-scheduler,kubelet,kube-proxy,kubectl}
            build kubernetes -ldflags '-s -w' -o "$programs/etcd" go.etcd.io/etcd/server/v3
            ;;
        coredns | provisioner | pause) build "$1" -ldflags '-s -w' -o "$programs/$1" . ;;
        helm) go install -trimpath -ldflags '-s -w' "$helm" ;;
        kubeconform) go install -trimpath -ldflags '-s -w' "$kubeconform" ;;
    esac
}

missing=()
for group in "${groups[@]}"; do is_built "$group" || missing+=("$group"); done
if [[ ${1:-} == --check ]]; then exit "$((${#missing[@]} > 0))"; fi
if ((${#missing[@]})); then
    command -v go >/dev/null || PATH=$PATH:/usr/local/go/bin
    # Compiled packages are worth nothing once the programs are linked, and gigabytes large: they go when the build ends.
    GOCACHE=$(mktemp -d "$cache/go-build.XXXXXX")
    trap 'rm -rf "$GOCACHE"' EXIT
    # Nor is anything debugged: without the tables for that, compiling takes a tenth less.
    export CGO_ENABLED=0 GOBIN=$programs GOCACHE GOFLAGS='-buildvcs=false -gcflags=all=-dwarf=false'
    mkdir -p "$programs/.built"
    for group in "${missing[@]}"; do
        echo "cluster: building $group" >&2
        build_group "$group" >&2
        stamp_of "$group" >"$programs/.built/$group"
    done
fi
echo "$programs"
