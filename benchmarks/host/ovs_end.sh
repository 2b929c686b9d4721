#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The host between two guests, by Open vSwitch on DPDK: one PMD thread, two dpdkvhostuser ports, a rule by ingress port each
# way, which is the fastest that it has. An end as in benchmarks/ends.h.
#
#   sh benchmarks/host/ovs_end.sh FOLDER CPU SECONDS
#
#   FOLDER   that holds all that it makes, the sockets guest0 and guest1 among it
#   SECONDS  that its busy cycles are counted, by its own account; 0: no end
set -eu
folder=$1 cpu=$2 seconds=$3
export OVS_RUNDIR="$folder" OVS_LOGDIR="$folder" OVS_DBDIR="$folder" OVS_SYSCONFDIR="$folder"
schema=/usr/share/openvswitch/vswitch.ovsschema
vswitchd=/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk

pids=
clean_up() {
  for pid in $pids; do kill "$pid" 2>/dev/null || true; done
  for pid in $pids; do wait "$pid" 2>/dev/null || true; done
}
trap clean_up EXIT
trap 'exit 143' TERM INT HUP

# 1. A database and a switch of its own, which nobody else talks to.
ovsdb-tool create "$folder/conf.db" $schema
ovsdb-server "$folder/conf.db" --remote=punix:"$folder/db.sock" --unixctl="$folder/db.ctl" >"$folder/log" 2>&1 &
pids=$!
vsctl() { ovs-vsctl --db=unix:"$folder/db.sock" --retry "$@"; }
mask=$(printf '0x%x' $((1 << cpu)))
vsctl --no-wait init -- set Open_vSwitch . other_config:dpdk-init=true other_config:pmd-cpu-mask="$mask" \
  other_config:dpdk-lcore-mask="$mask" other_config:dpdk-socket-mem=256 other_config:dpdk-extra="--no-pci"
"$vswitchd" unix:"$folder/db.sock" --unixctl="$folder/ovs.ctl" -vconsole:warn >>"$folder/log" 2>&1 &
pids="$pids $!"
vsctl add-br br0 -- set bridge br0 datapath_type=netdev fail-mode=secure
for i in 0 1; do
  vsctl add-port br0 guest$i -- set Interface guest$i type=dpdkvhostuser ofport_request=$((i + 1))
done
ovs-ofctl add-flow br0 in_port=1,actions=output:2
ovs-ofctl add-flow br0 in_port=2,actions=output:1
[ -S "$folder/guest0" ] && [ -S "$folder/guest1" ] || { cat "$folder/log"; exit 1; }
echo ready

# 2. What it did, by the account of its thread.
ctl() { ovs-appctl -t "$folder/ovs.ctl" "$@"; }
stats() { ctl dpif-netdev/pmd-stats-show -pmd "$cpu"; }
packets() { stats | awk '/packets received:/ { print $3; exit }'; }
[ "$seconds" != 0 ] || wait
tries=0
until [ "$(packets)" -gt 10000 ]; do
  tries=$((tries + 1))
  [ $tries -lt 100 ] || { echo "no traffic"; exit 1; }
  sleep 0.1
done
ctl dpif-netdev/pmd-stats-clear
began=$(date +%s%N)
sleep "$seconds"
shown=$(stats)
took=$(($(date +%s%N) - began))
echo "$shown" | awk -v took="$took" '
  /packets received:/ { packets = $3 }
  /processing cycles:/ { busy = $3; exit }
  END { printf "packets %d nanoseconds %d cpu_nanoseconds %d bad 0 busy_ticks %d\n", packets, took, took, busy }'
