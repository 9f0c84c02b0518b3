# Sourced by the scripts beside it: where things are. All that outlives a cluster is in one cache, outside of the checkout.

cache=${XDG_CACHE_HOME:-$HOME/.cache}/dragnet/cluster
programs=$cache/bin  # made by build.sh
mkdir -p "$programs"
PATH=$programs:$PATH:/usr/sbin:/sbin

fail() { printf 'cluster: %s\n' "$*" >&2; exit 1; }

wait_for() { # WHAT SECONDS COMMAND...
    local what=$1 deadline=$((SECONDS + $2))
    shift 2
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < deadline)) || { echo "cluster: $what did not become ready" >&2; return 1; }
        sleep 0.2
    done
}
