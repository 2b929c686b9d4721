#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The main job, seen to work: a host process that links libsluice switches the kernel's own TCP between two guests and the
# outside, each a network namespace behind a veth pair: guests over AF_XDP, the outside over verbs.
#
#      guest1 10.77.0.1      guest2 10.77.0.2      outside 10.77.0.3        namespaces of their own
#            │ veth                │ veth                │ veth
#            │                     │             soft0, a verbs NIC in software
#      ┌─────┴─────────────────────┴─────────────────────┴─────┐
#      │ host: xdp:guest1          xdp:guest2    rdma:soft0/1  │            a fourth namespace
#      └───────────────────────────────────────────────────────┘
#
# With an RDMA NIC the host's last word is the card's name: rdma:mlx5_0/1. With --vm the guests are virtual machines, with a
# kernel of their own and two queue pairs each, and the host's first words vhost:guest1.sock vhost:guest2.sock.
#
# Shows ping, a file transfer compared by checksum, and iperf3 with TCP and UDP both ways; prints the host's tables, checks
# that what the guests' kernels miss is what the drop table tells of, and removes all that it made, also on Ctrl-C.
#
#   sh examples/quickstart.sh [--vm]     SECONDS_EACH=5 for longer iperf3 runs (default 2);
#                                        UPLINK=xdp:uplink for AF_XDP to the outside too
set -eu
cd "$(dirname "$0")/.."
if [ "$(id -u)" != 0 ]; then
  echo "the quickstart needs root, to make network namespaces and AF_XDP sockets (CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF)
and to install what is missing; run: sudo sh examples/quickstart.sh" >&2
  exit 1
fi
vm=
case "${1:-}" in
  "") ;;
  --vm) vm=yes ;;
  *) echo "usage: sh examples/quickstart.sh [--vm]" >&2; exit 2 ;;
esac
seconds=${SECONDS_EACH:-2}
uplink=${UPLINK:-rdma:soft0/1}
tag=sluice-qs-$$
work=$(mktemp -d)
host_pid=

say() { printf '\n== %s\n' "$*"; }
fail() {
  printf 'FAILED: %s\n' "$*" >&2
  [ ! -s "$work/host.err" ] || { echo "the host said:" >&2; cat "$work/host.err" >&2; }
  exit 1
}

clean_up() {
  trap '' INT TERM HUP  # a second Ctrl-C must not leave half of it behind
  trap - EXIT
  for pid in $host_pid $(cat "$work"/*.pid 2>/dev/null); do kill "$pid" 2>/dev/null || true; done
  [ -z "$host_pid" ] || wait "$host_pid" 2>/dev/null || true
  for name in guest1 guest2 outside host; do ip netns del "$tag-$name" 2>/dev/null || true; done
  rm -rf "$work"
}
trap clean_up EXIT
trap 'clean_up; exit 130' INT
trap 'clean_up; exit 143' TERM
trap 'clean_up; exit 129' HUP

# 1. Install and build.
sh cmake/install-packages.sh
cmake --preset release -DSLUICE_BUILD_BENCHMARKS=OFF >"$work/build.log" || { cat "$work/build.log"; exit 1; }
echo "building the library, the example host and the software verbs device ..."
cmake --build --preset release --target host sluice_softverbs >"$work/build.log" 2>&1 || { cat "$work/build.log"; exit 1; }

[ -z "$vm" ] || sh tests/vm/build_guest.sh || fail "there is no guest without a kernel for it, and QEMU"

# 2. Namespaces, and a cable to each but the host's. What a guest leaves to be finished by hardware (checksums, segmenting), AF_XDP does
#    not tell of: off, as it would be for a card without offloads.
in_ns() {
  name=$1
  shift
  ip netns exec "$tag-$name" "$@"
}
is_vm() { [ -n "$vm" ] && [ "$1" != outside ]; }
# A shell command in a guest, or outside; at most a minute.
at() {
  if is_vm "$1"; then
    python3 -B tests/vm/guest_line.py run "$work/$1" 60 "$(echo "$2" | tr '\n' ' ')"
  else
    ip netns exec "$tag-$1" timeout --foreground 60 sh -c "$2"  # where Ctrl-C reaches it
  fi
}
without_ipv6() {
  for scope in all default; do in_ns "$1" sh -c "echo 1 >/proc/sys/net/ipv6/conf/$scope/disable_ipv6" 2>/dev/null; done || true
}
add_guest() { # name, interface of the host, address
  ip netns add "$tag-$1"
  ip link add "$2" netns "$tag-host" type veth peer name eth0 netns "$tag-$1"
  # Only what is sent here on purpose is sent, so that it can be counted.
  without_ipv6 "$1"
  in_ns "$1" ip addr add "$3/24" dev eth0
  in_ns "$1" ip link set lo up
  in_ns "$1" ip link set eth0 up
  in_ns host ip link set dev "$2" up
  in_ns "$1" ethtool -K eth0 tx off tso off gso off >/dev/null 2>&1
}
if [ -n "$vm" ]; then
  places="host outside"
  ports="vhost:$work/guest1.vhost vhost:$work/guest2.vhost"
else
  places="host guest1 guest2 outside"
  ports="xdp:guest1 xdp:guest2"
fi
say "making the namespaces of $tag for $places"
ip netns add "$tag-host"
in_ns host ip link set lo up
without_ipv6 host
if [ -z "$vm" ]; then
  add_guest guest1 guest1 10.77.0.1
  add_guest guest2 guest2 10.77.0.2
fi
add_guest outside uplink 10.77.0.3

# 3. The host, with a device that has its cable plugged into the interface "uplink".
cat >"$work/verbs.conf" <<CONF
device soft0
  mac 02:00:00:00:00:30
  wire packet uplink
CONF
: >"$work/host.err"
ip netns exec "$tag-host" build/release/lib/nic/softverbs/standalone/sluice-softverbs "$work/verbs.conf" -- \
  build/release/examples/host --quiet --snapshot-json "$work/end.json" \
  $ports "$uplink" >"$work/host.out" 2>"$work/host.err" &
host_pid=$!
tries=0
until grep -q '^ready' "$work/host.err"; do
  tries=$((tries + 1))
  [ $tries -lt 100 ] && kill -0 "$host_pid" 2>/dev/null || fail "the host did not start"
  sleep 0.1
done

# 4. Virtual machines, as any hypervisor starts them that speaks vhost-user. No vectors: with them QEMU 7.2 crashes where it has
#    no KVM.
start_vm() { # name, number
  python3 -B tests/vm/guest_line.py hold "$work/$1" &
  echo $! >"$work/$1-line.pid"
  until [ -S "$work/$1" ]; do sleep 0.1; done
  sh tests/vm/run_guest.sh "$work/$1" "$work/$1.console" \
    -chardev "socket,id=vhost,path=$work/$1.vhost,reconnect=1" -netdev vhost-user,id=net,chardev=vhost,queues=2 \
    -device "virtio-net-pci,netdev=net,mq=on,vectors=0,mac=02:00:00:00:00:1$2,romfile=" >"$work/$1.qemu" 2>&1 &
  echo $! >"$work/$1-qemu.pid"
}
if [ -n "$vm" ]; then
  say "booting the virtual machines guest1 and guest2"
  start_vm guest1 1
  start_vm guest2 2
  for number in 1 2; do
    at "guest$number" "echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6; ip addr add 10.77.0.$number/24 dev eth0;
      ip link set eth0 up" || fail "guest$number does not start: $(cat "$work/guest$number.qemu")"
    at "guest$number" "ls /sys/class/net/eth0/queues" | tr '\n' ' ' | sed "s/^/guest$number has the queues /; s/ *$/\n/"
  done
fi

# 5. Ping, every pair.
say "ping"
ping_pair() {
  at "$1" "ping -q -c 10 -i 0.05 -W 2 $2" | sed -n "s/^.*packets transmitted/$1 -> $2: &/p" | tee "$work/ping"
  grep -q ' 0% packet loss' "$work/ping" || fail "ping from $1 to $2"
}
ping_pair guest1 10.77.0.2
ping_pair guest1 10.77.0.3
ping_pair outside 10.77.0.2

# 6. A file, by HTTP, compared by checksum.
size=33554432
[ -z "$vm" ] || size=8388608  # processors are emulated
say "a file of $((size / 1048576)) MiB over HTTP"
serve() { # name
  folder=$work/$1-files
  ! is_vm "$1" || folder=/tmp/files
  at "$1" "mkdir $folder; cd $folder; head -c $size /dev/urandom >file; sha256sum <file" | cut -d' ' -f1 >"$work/$1.sum"
  if is_vm "$1"; then
    at "$1" "httpd -p 8080 -h $folder"
  else
    (cd "$folder" && exec ip netns exec "$tag-$1" python3 -m http.server 8080 >/dev/null 2>&1) &
    echo $! >"$work/$1-http.pid"
  fi
}
fetch() { # name, from whom, address
  get="curl -s --retry 20 --retry-connrefused --retry-delay 1 --max-time 60"
  ! is_vm "$1" || get="wget -q -O -"
  began=$(date +%s%N)
  at "$1" "$get http://$3:8080/file | sha256sum" | cut -d' ' -f1 >"$work/fetched.sum"
  cmp "$work/fetched.sum" "$work/$2.sum" || fail "the file from $2 did not arrive at $1 as it was sent"
  echo "$1 <- $2: $size bytes, $((size * 1000 / (($(date +%s%N) - began) / 1000000))) bytes/s"
  sed 's/$/  sha256, the same at both ends/' "$work/fetched.sum"
}
serve guest2
serve outside
fetch guest1 guest2 10.77.0.2
fetch guest2 outside 10.77.0.3

# 7. Rates.
rate=100M
[ -z "$vm" ] || rate=10M
say "iperf3, $seconds s each"
for name in guest2 outside; do
  if is_vm "$name"; then
    at "$name" "iperf3 -s -D"
  else
    ip netns exec "$tag-$name" iperf3 -s >/dev/null 2>&1 &
    echo $! >"$work/$name-iperf3.pid"
  fi
done
sleep 0.5
measure() { # title, namespace, iperf3 arguments
  title=$1
  name=$2
  shift 2
  # A server calls itself busy for a moment after its last client has gone.
  tries=5
  until at "$name" "iperf3 -J -t $seconds $*" >"$work/iperf.json" && ! grep -q '"error":' "$work/iperf.json"; do
    tries=$((tries - 1))
    if [ "$tries" -eq 0 ] || ! grep -q busy "$work/iperf.json"; then
      fail "iperf3, $title: $(grep '"error":' "$work/iperf.json")"
    fi
    sleep 0.5
  done
  python3 - "$title" "$work/iperf.json" <<'PY'
import json, sys
end = json.load(open(sys.argv[2]))["end"]
got = end.get("sum_received") or end["sum"]
line = "%-24s %8.1f Mbit/s" % (sys.argv[1], got["bits_per_second"] / 1e6)
if "lost_percent" in end.get("sum", {}):
    line += "   lost %.2f %%" % end["sum"]["lost_percent"]
else:
    line += "   retransmits %d" % end["sum_sent"].get("retransmits", 0)
print(line)
PY
}
for to in guest2:10.77.0.2 outside:10.77.0.3; do
  address=${to#*:}
  to=${to%%:*}
  measure "TCP guest1 -> $to" guest1 -c "$address"
  measure "TCP $to -> guest1" guest1 -c "$address" -R
  measure "UDP guest1 -> $to" guest1 -c "$address" -u -b "$rate"
  measure "UDP $to -> guest1" guest1 -c "$address" -u -b "$rate" -R
done

# 8. The books: the host's, and the kernels' at the guests' end of the cables. Virtual machines send and receive what becomes
#    many frames outside: of them the host's alone are looked at.
guests_count() { # tx_packets or rx_packets
  sum=0
  for name in guest1 guest2 outside; do
    sum=$((sum + $(at "$name" "cat /sys/class/net/eth0/statistics/$1")))
  done
  echo $sum
}
sleep 1  # the last acknowledgments
injected=$(guests_count tx_packets)
delivered=$(guests_count rx_packets)
kill -TERM "$host_pid"
wait "$host_pid" || fail "the host ended with an error"
host_pid=
say "the host's tables"
cat "$work/host.out"
python3 - "$work/end.json" "$injected" "$delivered" "$vm" <<'PY' || fail "packets are missing without a counted drop"
import json, sys
told = json.load(open(sys.argv[1]))
injected, delivered = map(int, sys.argv[2:4])
vm = sys.argv[4]
books = told["balance"]
missing = injected + books["copies"] - delivered - books["held"]
print("\nthe guests' kernels sent %d and received %d; the host made %d copies to flood" %
      (injected, delivered, books["copies"]))
if not vm:
    print("missing %d = sum of the drop table %d" % (missing, told["all_drops"]))
sys.exit((not vm and missing != told["all_drops"]) or books["difference"] != 0 or books["received"] == 0)
PY
say "done: all of it worked"
