#!/usr/bin/env bash
# An API server with its etcd on loopback, and nothing else of a cluster: no controllers, no nodes. For tests of what the API server
# itself does (schemas, CEL, server-side apply, status, admission, RBAC). Needs neither root nor a free port of a certain number.
#
#   api-server.sh FOLDER    runs until its standard input ends. When it serves, it prints one line: the path of an
#                           administrator's kubeconfig. Everything is in FOLDER, logs too; several at once do not meet.
#
# Whoever starts it holds the other end of its standard input, so that it ends with them, however they end.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/paths.sh"
. "$here/keys.sh"

[[ $# == 1 ]] || fail "say in which folder"
for program in etcd kube-apiserver kubectl; do
    [[ -x $programs/$program ]] || fail "$program is missing: e2e/cluster/build.sh makes it"
done
mkdir -p "$1"
folder=$(cd "$1" && pwd)
keys=$folder/keys
mkdir -p "$keys"

# Three ports in a row of our own below the kernel's own choices, kept by a lock for as long as this process runs.
first_port=
take_ports() {
    local slot port
    mkdir -p "$cache/ports"
    for slot in $(seq $((RANDOM % 500)) 1200); do
        port=$((18000 + 3 * slot))
        exec 9>"$cache/ports/$port"
        flock -n 9 && ! ss -Htln "( sport >= :$port and sport <= :$((port + 2)) )" | grep -q . && { first_port=$port; return; }
    done
    fail "no free ports"
}

running=()
# The programs must not inherit our standard input (whoever waits for its end would wait for theirs) nor the lock.
launch() { # NAME COMMAND...
    local name=$1
    shift
    "$@" >>"$folder/$name.log" 2>&1 </dev/null 9>&- &
    running+=($!)
}
end() {
    ((${#running[@]} == 0)) || kill -9 "${running[@]}" 2>/dev/null || true
    wait 2>/dev/null || true
    rm -rf "$folder/etcd"
}
trap end EXIT
trap 'exit 0' TERM INT

take_ports
client_port=$first_port peer_port=$((first_port + 1)) port=$((first_port + 2))
launch etcd etcd --data-dir "$folder/etcd" --unsafe-no-fsync --log-level warn \
    --listen-client-urls "http://127.0.0.1:$client_port" --advertise-client-urls "http://127.0.0.1:$client_port" \
    --listen-peer-urls "http://127.0.0.1:$peer_port" \
    --initial-advertise-peer-urls "http://127.0.0.1:$peer_port" --initial-cluster "default=http://127.0.0.1:$peer_port"
make_authority
server_certificate apiserver /CN=kube-apiserver DNS:localhost,IP:127.0.0.1
client admin /O=system:masters/CN=admin "https://127.0.0.1:$port"
launch kube-apiserver kube-apiserver --etcd-servers "http://127.0.0.1:$client_port" --bind-address 127.0.0.1 --secure-port "$port" \
    --advertise-address 127.0.0.1 --endpoint-reconciler-type none --service-cluster-ip-range 10.96.0.0/16 \
    --client-ca-file "$keys/ca.crt" --tls-cert-file "$keys/apiserver.crt" --tls-private-key-file "$keys/apiserver.key" \
    --authorization-mode RBAC --service-account-issuer https://kubernetes.default.svc.cluster.local \
    --service-account-key-file "$keys/service-account.key" --service-account-signing-key-file "$keys/service-account.key" \
    --disable-admission-plugins ServiceAccount --enable-priority-and-fairness=false --v 1
serves() { kubectl --kubeconfig "$keys/admin.kubeconfig" --request-timeout 2s get --raw /readyz; }
wait_for "the API server" 90 serves || { tail -n 20 "$folder/kube-apiserver.log" >&2; exit 1; }
echo "$keys/admin.kubeconfig"
while read -r _; do :; done # until our standard input ends
