# Sourced by cluster.sh: a node is a network namespace with its own containerd, kubelet, kube-proxy, pod addresses and cgroup.

node_address() { echo "10.87.0.$((10 + ${1#node-}))"; }
pod_addresses() { echo "10.88.${1#node-}.0/24"; }
nodes() { (cd "$folder" 2>/dev/null && ls -d node-* 2>/dev/null) || true; }
containers_of() { local node=$1; shift; ctr --address "$folder/$node/containerd.sock" --namespace k8s.io "$@"; }

# --- making one -----------------------------------------------------------------------------------------------------

make_node() { # NODE
    local node=$1
    mkdir -p "$folder/$node"/{cni,kubelet,run}
    wire_node "$node"
    make_cgroup "$prefix-$node"
    server_certificate "$node-server" "/CN=$node" "DNS:$node,IP:$(node_address "$node")"
    client "$node" "/O=system:nodes/CN=system:node:$node" "$server"
    configure_containerd "$node"
    configure_pod_network "$node"
    configure_kubelet "$node"
    configure_proxy "$node"
}

wire_node() { # NODE: a cable to the bridge in the control plane's namespace, and a route back to the pods
    local node=$1 netns=$prefix-$1
    ip netns add "$netns"
    ip -n "$netns" link set lo up
    ip -n "$prefix" link add "$node" type veth peer name eth0 netns "$netns"
    ip -n "$prefix" link set "$node" master nodes up
    ip -n "$netns" addr add "$(node_address "$node")/24" dev eth0
    ip -n "$netns" link set eth0 up
    ip -n "$netns" route add default via "$api_address"
    ip -n "$prefix" route add "$(pod_addresses "$node")" via "$(node_address "$node")"
    nsenter --net="/run/netns/$netns" sysctl -qw net.ipv4.ip_forward=1 net.bridge.bridge-nf-call-iptables=1
}

unified=/sys/fs/cgroup # the one tree of version 2; version 1 has a tree for each controller below it
is_unified() { [[ -e $unified/cgroup.controllers ]]; }
make_cgroup() { # NAME: the kubelet wants its root to exist
    local controller tree
    if is_unified; then
        for controller in $(<"$unified/cgroup.controllers"); do echo "+$controller" >"$unified/cgroup.subtree_control" 2>/dev/null || true; done
        mkdir -p "$unified/$1"
    else
        for tree in "$unified"/*/; do mkdir -p "$tree$1" 2>/dev/null || true; done
    fi
}
processes_of() { # NODE: all that run in its containers
    local tree=$unified/pids
    ! is_unified || tree=$unified
    find "$tree/$prefix-$1" -name cgroup.procs -exec cat {} + 2>/dev/null || true
}

# --- configuration --------------------------------------------------------------------------------------------------

configure_containerd() { # NODE
    cat >"$folder/$1/containerd.toml" <<TOML
version = 2
root = "$folder/$1/containerd"
state = "$folder/$1/run/containerd"
[grpc]
  address = "$folder/$1/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "dragnet.test/pause:1"
  netns_mounts_under_state_dir = true # so that they are this cluster's to remove
  restrict_oom_score_adj = true # scores may be lowered with CAP_SYS_RESOURCE alone
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$folder/$1/cni"
TOML
}

configure_pod_network() { # NODE
    cat >"$folder/$1/cni/10-bridge.conflist" <<JSON
{"cniVersion": "1.0.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": false, "hairpinMode": true,
   "ipam": {"type": "host-local", "dataDir": "$folder/$1/addresses",
            "ranges": [[{"subnet": "$(pod_addresses "$1")"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
JSON
}

configure_kubelet() { # NODE
    printf 'nameserver %s\n' "$dns_address" >"$folder/$1/resolv.conf"
    # Disk thresholds are off: the disk is the machine's, and not ours to judge. The node reports often, so that its loss is noticed
    # in seconds. A container that ended is started again at once, however often: stories end them often.
    cat >"$folder/$1/kubelet.yaml" <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix://$folder/$1/containerd.sock
cgroupDriver: cgroupfs
cgroupRoot: /$prefix-$1
failCgroupV1: false
failSwapOn: false
oomScoreAdj: 0
nodeStatusUpdateFrequency: 2s
crashLoopBackOff: {maxContainerRestartPeriod: 1s}
authentication: {x509: {clientCAFile: $keys/ca.crt}, webhook: {enabled: true}, anonymous: {enabled: false}}
authorization: {mode: Webhook}
tlsCertFile: $keys/$1-server.crt
tlsPrivateKeyFile: $keys/$1-server.key
clusterDNS: [$dns_address]
clusterDomain: cluster.local
resolvConf: $folder/$1/resolv.conf
evictionHard: {nodefs.available: "0%", nodefs.inodesFree: "0%", imagefs.available: "0%", memory.available: 100Mi}
imageGCHighThresholdPercent: 100
maxPods: 250
podLogsDir: $folder/$1/pod-logs
volumePluginDir: $folder/$1/kubelet/volume-plugins
YAML
}

configure_proxy() { # NODE
    cat >"$folder/$1/proxy.yaml" <<YAML
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: iptables
clusterCIDR: 10.88.0.0/16
hostnameOverride: $1
clientConnection: {kubeconfig: $keys/proxy.kubeconfig}
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
YAML
}

# --- its life -------------------------------------------------------------------------------------------------------

boot() { # NODE
    local node=$1 netns=$prefix-$1 name
    mv -f "$folder/log/$node-containerd.log" "$folder/log/$node-containerd.before.log" 2>/dev/null || true
    launch "$netns" "$node-containerd" containerd --config "$folder/$node/containerd.toml"
    # It answers before the part that kubelets talk to has recovered what a crash left; a kubelet that comes too early gives up.
    wait_for "containerd of $node" 60 grep -q 'Start streaming server' "$folder/log/$node-containerd.log"
    wait_for "containerd of $node" 30 containers_of "$node" version
    if [[ ! -e $folder/$node/booted ]]; then
        for name in pause coredns; do containers_of "$node" images import "$folder/images/$name.tar" >/dev/null; done
        touch "$folder/$node/booted"
    fi
    launch "$netns" "$node-kubelet" kubelet --config "$folder/$node/kubelet.yaml" --kubeconfig "$keys/$node.kubeconfig" \
        --hostname-override "$node" --node-ip "$(node_address "$node")" --root-dir "$folder/$node/kubelet" --cert-dir "$keys"
    launch "$netns" "$node-kube-proxy" kube-proxy --config "$folder/$node/proxy.yaml"
}

crash() { # NODE: nothing of it has time for a last word
    end "$1-kubelet" "$1-kube-proxy" "$1-containerd"
    processes_of "$1" | xargs -r kill -9 2>/dev/null || true
}
