# What scripts share that run ranks over a network: each rank in a network namespace of its own, on a bridge. Read with `.`
# behind mpi.sh. The script enters namespaces of its own for all of it, as root or as a user: links, mounts and processes
# that are left behind end with it. What a reader would get wrong: TCP hands a virtual link packets of up to 64 KB, so that
# headers hardly count; a limit of the rate (net_rate) cuts them to 1,500 bytes, and headers are 4 % then.

# net_enter COMMAND...: goes on as COMMAND, the script and its arguments, in namespaces of its own, or sets net_lack and is 1.
net_enter() {
    [ -n "${NET_ENTERED:-}" ] && return 0
    local enter=(unshare --map-root-user --net --mount --pid --fork --kill-child --mount-proc)
    [ "$(id -u)" = 0 ] && enter=(unshare --net --mount --pid --fork --kill-child --mount-proc)
    net_lack="network namespaces are not allowed here, or there is no iproute2"
    "${enter[@]}" sh -c 'mkdir -p /run/netns && mount -t tmpfs none /run/netns && ip netns add one && ip netns exec one true &&
        ip link add e0 netns one type veth peer name e1' >/dev/null 2>&1 || return 1
    NET_ENTERED=1 exec "${enter[@]}" "$@"
}

# net_up RANKS FOLDER: hosts node0, node1, ... with a link e0 each; the launcher's way to them is written into FOLDER.
net_up() {
    local i
    mkdir -p /run/netns && mount -t tmpfs none /run/netns && ip link set lo up && ip link add net type bridge && ip link set net up || return 1
    net_hosts='' net_agent=$2/agent net_sessions=$2
    for ((i = 0; i < $1; i++)); do
        ip netns add "node$i" && ip link add e0 netns "node$i" type veth peer name "port$i" &&
            ip link set "port$i" master net up && ip -n "node$i" link set lo up &&
            ip -n "node$i" addr add "198.18.0.$((i + 1))/24" dev e0 && ip -n "node$i" link set e0 up || return 1
        net_hosts+=${net_hosts:+,}198.18.0.$((i + 1))
    done
    cat >"$net_agent" <<'AGENT'
#!/bin/bash
# In place of ssh: OPTIONS HOST COMMAND...
while [[ $1 == -* ]]; do shift; done
node=node$((${1##*.} - 1))
shift
exec ip netns exec $node unshare --uts bash -c "hostname $node; $*"
AGENT
    chmod +x "$net_agent"
}

# net_rate RANKS RATE: what each rank can send, such as 200mbit.
net_rate() {
    local i
    for ((i = 0; i < $1; i++)); do
        ip netns exec "node$i" tc qdisc replace dev e0 root tbf rate "$2" burst 1mb latency 50ms || return 1
    done
}

# net_run RANKS COMMAND...: mpi_run with a rank on each host, and TCP between them.
net_run() {
    local ranks=$1 hosts command
    shift
    hosts=$(cut -d, -f"1-$ranks" <<<"$net_hosts")
    command=$(printf '%q ' "$@")
    case $mpi_flavour in
    openmpi)
        export OMPI_MCA_btl=tcp,self OMPI_MCA_pml=ob1 OMPI_MCA_btl_tcp_if_include=e0 OMPI_MCA_oob_tcp_if_include=e0 OMPI_MCA_plm_rsh_agent=$net_agent \
            PRTE_MCA_plm_ssh_agent=$net_agent PRTE_MCA_prte_if_include=e0 PRTE_MCA_oob_tcp_if_include=e0
        command="$mpi_launch --host $hosts --bind-to none ${net_options:-} -np $ranks $command"
        ;;
    *)
        export UCX_TLS=tcp,self UCX_NET_DEVICES=e0 FI_PROVIDER=tcp FI_TCP_IFACE=e0
        command="$mpi_launch -launcher ssh -launcher-exec $net_agent -hosts $hosts -iface e0 ${net_options:-} -np $ranks $command"
        ;;
    esac
    TMPDIR=$net_sessions timeout -k 5 "${MPI_DEADLINE:-120}" "$net_agent" 198.18.0.1 "$command"
}
