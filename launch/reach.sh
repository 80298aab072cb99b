# For the launch files: how this machine reaches another one, by the route to it.

# reach OTHER: this machine's `address` towards it, and the interface for gloo and NCCL. Left to themselves, gloo takes the
# address of this machine's name, often 127.0.1.1, and NCCL any interface, docker's too. Where yours are set, they stay.
reach() {
    local route interface
    route=$(ip -4 -o route get "$(getent ahostsv4 "$1" | awk 'NR == 1 { print $1 }')")
    address=$(sed -n 's/.* src \([^ ]*\).*/\1/p' <<<"$route")
    interface=$(sed -n 's/.* dev \([^ ]*\).*/\1/p' <<<"$route")
    export GLOO_SOCKET_IFNAME="${GLOO_SOCKET_IFNAME:-$interface}"
    export NCCL_SOCKET_IFNAME="${NCCL_SOCKET_IFNAME:-=$interface}" # "=": this one, not all that begin like it
}
