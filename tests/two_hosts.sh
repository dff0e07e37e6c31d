#!/usr/bin/env bash
# Trains on two hosts that this machine plays: network namespaces with addresses of their own, joined
# by a cable of limited speed. Compares the checkpoint with that of one process, cuts one host off in
# mid-run, and goes on without it; then times a step on one host and on both, and holds it against what
# `snf scaling` predicts. Takes about two minutes, and root; not a part of .ci/run.
#
#   tests/two_hosts.sh [SNF]      the program: build/apps/snf
# GBIT=1 and DELAY=50us in the environment are the cable's; a delay needs the kernel's netem.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source apps/setup.sh

snf=$(realpath "${1:-build/apps/snf}")
data=$(realpath data/mnist 2>/dev/null) || die "found no data/mnist, expected: apps/data/fetch_mnist.sh data/mnist"
readonly snf data gbit=${GBIT-1} delay=${DELAY-50us}
readonly training="train selfnorm_cnn_mnist --data $data --batch-size 32 --limit-batches 20 --epochs 2
                   --set shards=4,num_blocks=2,block_size=1 --quiet"
((EUID == 0)) || die "found no root, expected it: network namespaces need it"
[[ -x $snf ]] || die "found no $snf, expected the program; build it with: ninja -C build apps/snf"
need iproute2 openmpi-bin

work=$(mktemp -d)
address() { echo "10.77.0.$1"; }
put_away() {
  for host in 1 2; do
    ip netns pids "backflow$host" 2>/dev/null | xargs -r kill -KILL || true
    ip netns del "backflow$host" 2>/dev/null || true
  done
  rm -rf -- "$work"
}
trap put_away EXIT

say "two hosts, $(address 1) and $(address 2), joined by a cable of $gbit Gbit/s"
for host in 1 2; do ip netns add "backflow$host"; done
ip link add cable1 netns backflow1 type veth peer name cable2 netns backflow2
for host in 1 2; do
  ip -n "backflow$host" addr add "$(address $host)/24" dev "cable$host"
  ip -n "backflow$host" link set lo up
  ip -n "backflow$host" link set "cable$host" up
  ip netns exec "backflow$host" tc qdisc add dev "cable$host" root handle 1: \
    tbf rate "${gbit}gbit" burst 256kb latency 50ms
  ip netns exec "backflow$host" tc qdisc add dev "cable$host" parent 1: \
    netem delay "$delay" 2>"$work/why" || say "no delay on host $host: $(cat "$work/why")"
done

# In the place of ssh: mpirun calls it with a host and a command.
cat >"$work/agent" <<'AGENT'
#!/bin/sh
host=${1##*.}
shift
exec ip netns exec "backflow$host" unshare --uts sh -c "hostname host$host; $*"
AGENT
chmod +x "$work/agent"

# on_two_hosts OPTIONS...: a rank on each. A host that is cut off is noticed after some seconds.
on_two_hosts() {
  OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 "$work/agent" "$(address 1)" \
    mpirun --mca plm_rsh_agent "$work/agent" -H "$(address 1),$(address 2)" -n 2 \
    --mca btl tcp,self --mca btl_tcp_if_include 10.77.0.0/24 --mca oob_tcp_if_include 10.77.0.0/24 \
    --mca oob_tcp_keepalive_time 2 --mca oob_tcp_keepalive_intvl 1 --mca oob_tcp_keepalive_probes 3 \
    --bind-to none "$snf" "$@"
}
bits() { sha256sum <"$work/$1/checkpoints/last.safetensors"; }
expect_bits() {
  [[ $(bits "$1") == "$(bits alone)" ]] || die "$1: found other bits than one process has"
  say "$1: the same bits"
}

say "one process"
$snf $training --out "$work/alone"
say "one rank on each host"
on_two_hosts $training --out "$work/together"
expect_bits together
say "host 2 is cut off in mid-run"
status=0
on_two_hosts $training --out "$work/cut" --save-every 0.001 2>"$work/complaints" &
mpirun=$!
until [[ -e $work/cut/checkpoints/best.safetensors ]]; do
  kill -0 $mpirun 2>/dev/null || die "$(cat "$work/complaints")"
  sleep 0.05
done
ip -n backflow2 link set cable2 down
start=$SECONDS
wait $mpirun || status=$?
((status != 0)) || die "found a run that ended well, expected one that does not"
say "mpirun gave up after $((SECONDS - start)) s, with exit code $status"
! pgrep -f "$work/cut" >/dev/null || say "still at work: $(pgrep -f "$work/cut" | wc -l) processes on host 2"
ip netns pids backflow2 | xargs -r kill -KILL
say "host 1 goes on alone"
$snf train selfnorm_cnn_mnist --data "$data" --out "$work/cut" --resume --quiet
expect_bits cut
say "and, with the cable back, both go on"
ip -n backflow2 link set cable2 up
rm -rf -- "$work/cut"
$snf ${training/--epochs 2/--epochs 1} --out "$work/cut"
on_two_hosts train selfnorm_cnn_mnist --data "$data" --out "$work/cut" --resume --epochs 2 --quiet
expect_bits cut
say "a step, one thread for each rank, on one host and on both"
steps="train selfnorm_cnn_mnist --data $data --set shards=4 --threads 1 --epochs 1 --limit-batches 100"
milliseconds() { awk '$1 == "1/1" {print $6}'; }
one=$($snf $steps --out "$work/one" | milliseconds)
two=$(on_two_hosts $steps --out "$work/two" | milliseconds)
$snf scaling selfnorm_cnn_mnist --set shards=4 --threads 1 --max-ranks 2 --out "$work/scaling" \
  --bandwidth "$gbit" --latency 50 --measured "1=$one" --measured "2=$two" | sed '/^table:/,$d'
say "two hosts: all well"
