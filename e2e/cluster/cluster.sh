#!/usr/bin/env bash
# A real Kubernetes cluster on this machine, for tests: no registry, no virtual machine, and nothing of the machine's own network is
# touched. Each node is a network namespace with its own containerd, kubelet and kube-proxy; the control plane has one as well.
#
#   cluster.sh up [NODES]        start the control plane and its nodes (one when not said)
#   cluster.sh run COMMAND...    run a command beside the API server, with KUBECONFIG set; that namespace has no way out
#   cluster.sh load IMAGE.tar    give an image to every node
#   cluster.sh cut|heal NODE     take a node off the network with its pods running; put it back
#   cluster.sh crash|boot NODE   end everything on a node at once, as a power cut does; start it again
#   cluster.sh status            nodes and pods
#   cluster.sh down              end it; nothing stays
#
# CLUSTER_NAME tells several clusters apart. The programs are made by build.sh; needs root.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/paths.sh"
. "$here/keys.sh"
. "$here/node.sh"

prefix=${CLUSTER_NAME:-dragnet}  # of network namespaces and cgroups: PREFIX is the control plane's, PREFIX-node-N a node's
folder=/var/tmp/$prefix-cluster
keys=$folder/keys
api_address=10.87.0.1 api_service_address=10.96.0.1 dns_address=10.96.0.10 services=10.96.0.0/16
server=https://$api_address:6443

kubectl() { nsenter --net="/run/netns/$prefix" -- "$programs/kubectl" --kubeconfig "$keys/admin.kubeconfig" "$@"; }

# launch NETNS NAME COMMAND...: in a session of its own, its log and process id kept. The program has to follow at once, without a
# shell function between: `$!` must be its process.
launch() {
    local netns=$1 name=$2
    shift 2
    setsid nsenter --net="/run/netns/$netns" -- "$@" >>"$folder/log/$name.log" 2>&1 </dev/null &
    echo $! >"$folder/run/$name.pid"
}
end() { # NAME...
    local name pid
    for name; do
        pid=$(cat "$folder/run/$name.pid" 2>/dev/null) || continue
        kill -9 "$pid" 2>/dev/null || true
        rm -f "$folder/run/$name.pid"
    done
}

make_keys() {
    make_authority
    server_certificate apiserver /CN=kube-apiserver "DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,\
DNS:kubernetes.default.svc.cluster.local,DNS:localhost,IP:127.0.0.1,IP:$api_address,IP:$api_service_address"
    client admin /O=system:masters/CN=admin "$server"
    client kubelet-client /O=system:masters/CN=kube-apiserver-kubelet-client "$server"
    client controller-manager /CN=system:kube-controller-manager "$server"
    client scheduler /CN=system:kube-scheduler "$server"
    client proxy /CN=system:kube-proxy "$server"
    client provisioner /O=system:masters/CN=provisioner "$server"
}

control_plane() {
    ip netns add "$prefix"
    ip -n "$prefix" link set lo up
    ip -n "$prefix" link add nodes type bridge
    ip -n "$prefix" addr add "$api_address/24" dev nodes
    ip -n "$prefix" link set nodes up
    nsenter --net="/run/netns/$prefix" sysctl -qw net.ipv4.ip_forward=1
    launch "$prefix" etcd etcd --data-dir "$folder/etcd" --unsafe-no-fsync --listen-peer-urls http://127.0.0.1:2380 \
        --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379
    # Aggregator routing: webhooks are called at the addresses of their pods, since no kube-proxy runs beside the API server.
    launch "$prefix" kube-apiserver kube-apiserver --etcd-servers http://127.0.0.1:2379 --bind-address 0.0.0.0 \
        --advertise-address "$api_address" --service-cluster-ip-range "$services" --client-ca-file "$keys/ca.crt" \
        --tls-cert-file "$keys/apiserver.crt" --tls-private-key-file "$keys/apiserver.key" \
        --kubelet-certificate-authority "$keys/ca.crt" --kubelet-preferred-address-types InternalIP \
        --kubelet-client-certificate "$keys/kubelet-client.crt" --kubelet-client-key "$keys/kubelet-client.key" \
        --allow-privileged --authorization-mode Node,RBAC --enable-aggregator-routing \
        --service-account-issuer https://kubernetes.default.svc.cluster.local \
        --service-account-key-file "$keys/service-account.key" --service-account-signing-key-file "$keys/service-account.key"
    wait_for "the API server" 180 kubectl get --raw /readyz
    # A node that is silent for 10 s is lost; how long its pods are waited for is theirs to say, by their tolerations.
    launch "$prefix" kube-controller-manager kube-controller-manager --kubeconfig "$keys/controller-manager.kubeconfig" \
        --authentication-kubeconfig "$keys/controller-manager.kubeconfig" \
        --authorization-kubeconfig "$keys/controller-manager.kubeconfig" \
        --root-ca-file "$keys/ca.crt" --service-account-private-key-file "$keys/service-account.key" \
        --cluster-signing-cert-file "$keys/ca.crt" --cluster-signing-key-file "$keys/ca.key" \
        --use-service-account-credentials --leader-elect=false --node-monitor-grace-period 10s --node-monitor-period 2s
    cat >"$folder/scheduler.yaml" <<YAML
apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
clientConnection: {kubeconfig: $keys/scheduler.kubeconfig}
leaderElection: {leaderElect: false}
YAML
    launch "$prefix" kube-scheduler kube-scheduler --config "$folder/scheduler.yaml" \
        --authentication-kubeconfig "$keys/scheduler.kubeconfig" --authorization-kubeconfig "$keys/scheduler.kubeconfig"
    launch "$prefix" provisioner provisioner --kubeconfig "$keys/provisioner.kubeconfig" --root "$folder/volumes"
}

up() { # COUNT
    local number node name
    [[ $EUID -eq 0 ]] || fail "needs root, for network namespaces and containers"
    for name in containerd runc ip iptables openssl; do command -v "$name" >/dev/null || fail "$name is missing: make setup"; done
    "$here/build.sh" --check || fail "its programs are not built: make setup"
    [[ ! -e $folder/run ]] || fail "one is up already; '$0 down' ends it"
    mkdir -p "$folder"/{keys,log,run,etcd,images,volumes}
    chmod 711 "$folder"
    chmod 700 "$keys"
    make_keys
    for name in pause coredns; do
        "$here/image.sh" program "$programs/$name" "dragnet.test/$name:1" "$folder/images/$name.tar" >/dev/null
    done
    control_plane
    for number in $(seq "$1"); do make_node "node-$number"; boot "node-$number"; done
    kubectl apply -f "$here/addons.yaml" >/dev/null
    for node in $(nodes); do wait_for "$node" 60 kubectl wait --for=condition=Ready "node/$node" --timeout=1s; done
    kubectl -n kube-system rollout status daemonset/coredns --timeout=60s >/dev/null
}

down() {
    local node netns id
    for node in $(nodes); do crash "$node"; done
    end provisioner kube-scheduler kube-controller-manager kube-apiserver etcd
    # Shims outlive their containerd, outside of the node's cgroup; the folder in their arguments is ours alone.
    for id in $(pgrep -f "containerd-shim-runc-v2 .* -address $folder/" || true); do kill -9 "$id" 2>/dev/null || true; done
    while mounts | grep -q .; do mounts | xargs umount -l; done
    for netns in $(ip netns list | awk -v p="$prefix" '$1 == p || index($1, p "-node-") == 1 { print $1 }'); do ip netns del "$netns"; done
    # A cgroup can be removed when the last of its processes has been waited for.
    wait_for "the end of its processes" 10 remove_cgroups || true
    rm -rf --one-file-system "$folder"
}
mounts() { grep -o " $folder/[^ ]*" /proc/mounts | sort -r || true; }
remove_cgroups() {
    find "$unified" -depth -type d -path "*/$prefix-node-*" -exec rmdir {} + 2>/dev/null || true
    ! find "$unified" -maxdepth 2 -type d -name "$prefix-node-*" | grep -q .
}

command=${1:-help}
shift || true
case $command in
    up) up "${1:-1}" ;;
    down) down ;;
    status) kubectl get nodes,pods --all-namespaces --output wide ;;
    run) KUBECONFIG=$keys/admin.kubeconfig exec nsenter --net="/run/netns/$prefix" -- "$@" ;;
    load) for node in $(nodes); do containers_of "$node" images import "$1" >/dev/null; done ;;
    cut) ip -n "$prefix" link set "$1" down ;;
    heal) ip -n "$prefix" link set "$1" up ;;
    crash) crash "$1" ;;
    boot) boot "$1" ;;
    *) sed -n '2,/^set/ { /^#/ s/^# \{0,1\}//p }' "$0"; exit 64 ;;
esac
