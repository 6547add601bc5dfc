#!/usr/bin/env bash
# A SLURM of one node, this one, in a folder: `slurm.sh start FOLDER`, `slurm.sh stop FOLDER`.
# Programs find it by SLURM_CONF=FOLDER/slurm.conf. It needs Debian's packages slurmctld, slurmd,
# slurm-client and munge, no privileges, and nothing of what those packages set up.
set -euo pipefail
action=$1 folder=$2
PATH=$PATH:/usr/sbin:/sbin
export SLURM_CONF=$folder/slurm.conf

stop() {
    for name in slurmd slurmctld munged; do
        if [ -s "$folder/$name.pid" ]; then
            kill "$(cat "$folder/$name.pid")" 2>/dev/null || true
        fi
    done
}

start_node() {
    slurmd >"$folder/slurmd.out" 2>&1
}

start() {
    mkdir -p "$folder/state" "$folder/spool"
    chmod 700 "$folder"
    local user host memory ports
    user=$(id -un) host=$(hostname -s)
    memory=$(awk '/MemTotal/ { print int($2 / 1024 * 0.9) }' /proc/meminfo)
    ports=$(python3 -c '
import socket
found = [socket.socket() for _ in range(2)]
for one in found:
    one.bind(("127.0.0.1", 0))
print(*(one.getsockname()[1] for one in found))')
    cat >"$SLURM_CONF" <<CONF
ClusterName=one
SlurmctldHost=$host(127.0.0.1)
SlurmUser=$user
SlurmdUser=$user
SlurmctldPort=${ports% *}
SlurmdPort=${ports#* }
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=1,batch_sched_delay=0
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
ReturnToService=2
SlurmdTimeout=5
KillWait=2
InactiveLimit=0
MinJobAge=300
NodeName=$host NodeAddr=127.0.0.1 CPUs=2 RealMemory=$memory State=UNKNOWN
PartitionName=main Nodes=$host Default=YES MaxTime=INFINITE State=UP
PartitionName=spare Nodes=$host MaxTime=INFINITE State=UP
CONF
    (umask 077 && dd if=/dev/urandom of="$folder/munge.key" bs=128 count=1 status=none)
    munged --force --key-file="$folder/munge.key" --socket="$folder/munge.socket" \
        --pid-file="$folder/munged.pid" --log-file="$folder/munged.log" \
        --seed-file="$folder/munged.seed"
    slurmctld -c >"$folder/slurmctld.out" 2>&1
    start_node
    for _ in $(seq 300); do
        if sinfo --noheader --format=%T 2>/dev/null | grep -q '^idle'; then
            exit 0
        fi
        sleep 0.2
    done
    tail -n 5 "$folder"/*.log "$folder"/*.out >&2
    stop
    exit 1
}

case $action in
start) start ;;
start-node) start_node ;;
stop) stop ;;
*) echo "start, start-node or stop, not $action" >&2 && exit 2 ;;
esac
