#!/bin/bash
# The Slurm example of docs/ranks.md, run: a munged, a slurmctld and a slurmd of Debian on this machine, in namespaces of their
# own, and a batch job whose srun starts the training driver on two ranks; then a job that is requeued by exit code 75 and
# goes on. Prints the versions. Needs root, slurm-wlm and Open MPI.
#
#   tests/campaign/slurm.sh
. tests/train/judged.sh
. tests/train/ranks/mpi.sh
. tests/train/ranks/net.sh
for program in munged slurmctld slurmd sbatch srun; do
    command -v $program >/dev/null || { echo "SKIPPED: there is no $program (Debian: slurm-wlm, munge)"; exit 0; }
done
mpi_find openmpi || { echo "SKIPPED: $mpi_lack"; exit 0; }
[ "$(id -u)" = 0 ] || { echo "SKIPPED: slurmd starts jobs as root only"; exit 0; }
net_enter "$0" "$@" || { echo "SKIPPED: $net_lack"; exit 0; }
trap 'kill $(jobs -p); wait; rm -rf "$work"' EXIT
ip link set lo up && ip addr add 198.18.0.1/32 dev lo # Slurm finds no host where there is loopback only
host=$(hostname) slurm=$work/slurm
mkdir -p "$slurm/state" "$slurm/spool" && chmod 700 "$slurm" && head -c 1024 /dev/urandom >"$slurm/key" && chmod 600 "$slurm/key" || exit 1
munged --foreground --force --key-file="$slurm/key" --socket="$slurm/munge" --pid-file="$slurm/munged.pid" --log-file="$slurm/munged.log" \
    --seed-file="$slurm/seed" >"$slurm/munged.out" 2>&1 &
cat >"$slurm/slurm.conf" <<CONF
ClusterName=moco
SlurmctldHost=$host(198.18.0.1)
SlurmUser=root
AuthInfo=socket=$slurm/munge
StateSaveLocation=$slurm/state
SlurmdSpoolDir=$slurm/spool
SlurmctldPidFile=$slurm/slurmctld.pid
SlurmdPidFile=$slurm/slurmd.pid
SlurmctldLogFile=$slurm/slurmctld.log
SlurmdLogFile=$slurm/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
ReturnToService=2
NodeName=$host NodeAddr=198.18.0.1 CPUs=$(nproc)
PartitionName=all Nodes=$host Default=YES MaxTime=INFINITE State=UP
CONF
export SLURM_CONF=$slurm/slurm.conf
sleep 1
slurmctld -D >"$slurm/slurmctld.out" 2>&1 &
slurmd -D -N "$host" >"$slurm/slurmd.out" 2>&1 &
for i in $(seq 20); do
    timeout 2 sinfo -h -o %t 2>/dev/null | grep -q idle && break
    sleep 0.5
done
timeout 2 sinfo -h -o %t 2>/dev/null | grep -q idle || { tail -n 20 "$slurm"/*.log "$slurm"/*.out; echo "the node does not come up"; exit 1; }
srun --version
srun --mpi=list 2>&1 | tr -d '\n'
echo
mpirun.openmpi --version | head -n 1

mkdir "$work/data" && "$BUILD/tests/train/tool_draw" "$work/data" 48 24 && mpi_module "$work/moco" && mkdir "$work/moco/examples" &&
    cp "$BUILD/examples/train_imagenet" "$work/moco/examples" || exit 1
options="--preset demo --arch resnet18 --width 0.125 --size 16 --moco-dim 16 --moco-k 24 --batch-size 16 --bn-group-size 4
    --device ref --knn-every 0 --lr 0.001 --no-report --threads 1 --workers 1"
# job NAME OPTIONS...: docs/ranks.md's script, with one node of two cores
job() {
    name=$1
    shift
    cat >"$work/$name.sh" <<JOB
#!/bin/sh
#SBATCH --nodes=1 --ntasks-per-node=2 --cpus-per-task=1 --requeue --open-mode=append
srun --mpi=pmix --kill-on-bad-exit=1 --cpus-per-task=1 \\
    $work/moco/examples/train_imagenet $work/data $(echo $options) --out $work/$name --resume auto $*
code=\$?
echo "exit code \$code" # for this test
[ \$code -ne 75 ] || scontrol requeue \$SLURM_JOB_ID
JOB
    sbatch --output="$work/$name.out" "$work/$name.sh" || fail "$name: sbatch"
}
until_said() { # file, words
    for i in $(seq 480); do
        grep -q -- "$2" "$1" 2>/dev/null && return
        sleep 0.5
    done
    fail "no \"$2\" in $1: $(tail -n 20 "$1" "$slurm"/slurmd.log)"
}
job plain --epochs 2
until_said "$work/plain.out" '^exit code'
cat "$work/plain.out" | tail -n 5
grep -q '"ranks":2,"engine":"Open MPI' "$work/plain/metrics.jsonl" && grep -q '^exit code 0' "$work/plain.out" || fail "the job did not train on two ranks"

job again --epochs 300
until_said "$work/again/metrics.jsonl" '"step":3,'
kill -USR1 "$(pgrep -f -- "^$work/moco/examples/train_imagenet .*$work/again " | tail -n 1)"
until_said "$work/again.out" '^exit code 75'
echo "waiting for the second start, which Slurm puts off for two minutes"
until_said "$work/again.out" 'resumed .* at step'
grep 'exit code\|resumed' "$work/again.out"
scancel --name=again.sh
exit $failed
