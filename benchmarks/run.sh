#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Builds the benchmarks for this processor, and runs ours against the peers'. A row for each work; see paired.h.
#
#   sh benchmarks/run.sh [--filter REGEX] [--rounds N] [--level NAME] [--json] [--strict] [--list]
#
# As root it also lends huge pages to both sides for the time of the run, and opens network namespaces of its own; otherwise
# rows that need those say so.
set -eu
cd "$(dirname "$0")/.."
{
  sh cmake/install-packages.sh required optional measured
  cmake --preset bench
  cmake --build --preset bench
} >&2

# 512 pages of 2 MiB: 256 for each process of a pair.
pages=/sys/kernel/mm/hugepages/hugepages-2048kB
wanted=512
before=
mounted=
clean_up() {
  [ -z "$mounted" ] || { umount "$mounted" && rmdir "$mounted"; }
  [ -z "$before" ] || echo "$before" >$pages/nr_hugepages
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
if [ "$(id -u)" -eq 0 ] && [ -w $pages/nr_hugepages ]; then
  if [ "$(cat $pages/free_hugepages)" -lt $wanted ]; then
    before=$(cat $pages/nr_hugepages)
    echo $((before + wanted)) >$pages/nr_hugepages
  fi
  mounted=$(mktemp -d)
  mount -t hugetlbfs none "$mounted" || { rmdir "$mounted"; mounted=; }
fi
SLUICE_BENCH_HUGE_DIR=$mounted
export SLUICE_BENCH_HUGE_DIR

status=0
build/bench/benchmarks/sluice_bench "$@" || status=$?
exit $status
