#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# TCP between two virtual machines under QEMU, emulated, through a host of ours that sleeps when nothing comes, and through
# DPDK's testpmd, which only passes on: in turns, guests booted anew for each. Prints a line for each run, then the medians.
#
#   sh benchmarks/host/vm_iperf3.sh [ROUNDS]
#
#   Mbit/s   that iperf3's receiver counts, guest 1 to guest 2, then back
#   CPU s    of the host's process, for each GB that the receivers counted; testpmd polls, so beside it what it was busy for:
#            its busy cycles (--record-core-cycles) in seconds of the time-stamp counter
#
# As root, after benchmarks/run.sh has built. The guest is that of tests/vm.
set -eu
cd "$(dirname "$0")/../.."
rounds=${1:-5}
seconds=2
cpu=1 # the host's; all else runs where there is time
[ "$(nproc)" -gt 1 ] || cpu=0
sh tests/vm/build_guest.sh
work=$(mktemp -d)
pids=

end_all() {
  for pid in $pids; do kill "$pid" 2>/dev/null || true; done
  for pid in $pids; do wait "$pid" 2>/dev/null || true; done
  pids=
}
trap 'end_all; rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

fail() {
  echo "vm_iperf3: $*" >&2
  cat "$work"/*.log >&2
  exit 1
}

start_ours() {
  taskset -c $cpu build/bench/benchmarks/host/guest_switch sleep 0 $cpu "vhost:$work/vhost1" "vhost:$work/vhost2" \
    >"$work/host.log" 2>&1 &
  host=$!
}
# Its words come from a pipe that stays open.
start_testpmd() {
  rm -f "$work/typed"
  mkfifo "$work/typed"
  vdev() { echo "--vdev=net_vhost$1,iface=$work/vhost$1,queues=1,tso=1,legacy-ol-flags=1"; }
  pages=--in-memory
  [ "$(cat /sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages)" -ge 128 ] || pages="--no-huge --no-shconf"
  # shellcheck disable=SC2086
  taskset -c $cpu stdbuf -oL dpdk-testpmd --lcores "0@$cpu,1@$cpu" $pages -m 256 --no-pci --no-telemetry \
    "$(vdev 1)" "$(vdev 2)" -- -i --forward-mode=io --nb-cores=1 --record-core-cycles --total-num-mbufs=16384 \
    <"$work/typed" >"$work/host.log" 2>&1 &
  host=$!
  exec 8>"$work/typed"
  echo start >&8
}
# "busy cycles, MHz" since the statistics were cleared.
busy_seconds() {
  echo "show fwd stats all" >&8
  sleep 0.3
  sed -n 's/.*CPU cycles\/packet=.*(total cycles=\([0-9]*\) .*at \([0-9]*\) MHz.*/\1 \2/p' "$work/host.log" | tail -n 1 |
    awk '{ printf "%.3f", $1 / $2 / 1e6 }'
}

start_guest() { # number
  python3 -B tests/vm/guest_line.py hold "$work/line$1" >"$work/line$1.log" 2>&1 &
  pids="$pids $!"
  until [ -S "$work/line$1" ]; do sleep 0.05; done
  sh tests/vm/run_guest.sh "$work/line$1" "$work/console$1.log" \
    -chardev "socket,id=vhost,path=$work/vhost$1,reconnect=1" -netdev vhost-user,id=net,chardev=vhost \
    -device "virtio-net-pci,netdev=net,vectors=0,mac=02:00:00:00:00:1$1,romfile=" >"$work/qemu$1.log" 2>&1 &
  pids="$pids $!"
}
at() { python3 -B tests/vm/guest_line.py run "$work/line$1" 60 "$2"; }

# Bytes that the receiver counted, and Mbit/s: of guest 1 to guest 2, or back with -R.
stream() {
  tries=0
  until at 1 "iperf3 -J -t $seconds -c 10.77.0.2 ${1:-}" >"$work/iperf.json" && ! grep -q '"error":' "$work/iperf.json"; do
    tries=$((tries + 1))
    [ $tries -lt 20 ] || fail "iperf3: $(cat "$work/iperf.json")"
    sleep 0.3
  done
  python3 -c 'import json, sys; got = json.load(open(sys.argv[1]))["end"]["sum_received"]
print(got["bytes"], "%.1f" % (got["bits_per_second"] / 1e6))' "$work/iperf.json"
}

processor_seconds() { awk -v hz="$(getconf CLK_TCK)" '{ print ($14 + $15) / hz }' "/proc/$host/stat"; }

run() { # ours or testpmd
  "start_$1"
  pids=$host
  until [ -S "$work/vhost1" ] && [ -S "$work/vhost2" ]; do
    kill -0 "$host" || fail "$1 does not start"
    sleep 0.05
  done
  for number in 1 2; do start_guest $number; done
  for number in 1 2; do
    at $number "ip addr add 10.77.0.$number/24 dev eth0; ip link set eth0 up" || fail "guest $number does not start"
  done
  at 2 "iperf3 -s -D"
  stream >/dev/null # warm
  busy_before=0 busy_after=0
  [ "$1" = ours ] || busy_before=$(busy_seconds)
  before=$(processor_seconds)
  there=$(stream)
  back=$(stream -R)
  after=$(processor_seconds)
  [ "$1" = ours ] || busy_after=$(busy_seconds)
  echo "$1 $there $back $before $after $busy_before $busy_after" | awk '{
    gb = ($2 + $4) / 1e9
    printf "%-8s %8.1f Mbit/s there %8.1f back %8.3f CPU s/GB", $1, $3, $5, ($7 - $6) / gb
    printf $1 == "ours" ? "\n" : " %8.3f busy s/GB\n", ($9 - $8) / gb }' | tee -a "$work/results"
  [ "$1" = ours ] || exec 8>&-
  end_all
  rm -f "$work"/vhost* "$work"/line* "$work"/*.log
}

round=0
while [ $round -lt "$rounds" ]; do
  round=$((round + 1))
  run ours
  run testpmd
done
python3 - "$work/results" <<'PY'
import statistics, sys
rows = [line.split() for line in open(sys.argv[1])]
def median(side, place):
    return statistics.median(float(row[place]) for row in rows if row[0] == side)
for name, place in (("Mbit/s there", 1), ("Mbit/s back", 4), ("CPU s/GB", 6)):
    ours, peer = median("ours", place), median("testpmd", place)
    ratio = peer / ours if place == 6 else ours / peer
    print("median %-13s ours %9.3f testpmd %9.3f ratio %.2f" % (name, ours, peer, ratio))
print("median busy s/GB      testpmd %9.3f" % median("testpmd", 9))
PY
