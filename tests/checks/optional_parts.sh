#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Configures the tree on a machine that seems to lack the optional parts: each is named with the package that brings it, and
# what stands in for AF_XDP and verbs compiles.
#
#   optional_parts.sh <C++ compiler>
set -eu
source=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM HUP

cat >"$work/pkg-config" <<'SH'
#!/bin/sh
case " $* " in *libxdp* | *libibverbs*) exit 1 ;; esac
exec pkg-config "$@"
SH
chmod +x "$work/pkg-config"
cmake -S "$source" -B "$work/build" -G Ninja -DCMAKE_CXX_COMPILER="$1" -DPKG_CONFIG_EXECUTABLE="$work/pkg-config" \
  -DCMAKE_DISABLE_FIND_PACKAGE_CLI11=ON -DSLUICE_BUILD_TESTS=OFF -DSLUICE_BUILD_BENCHMARKS=OFF >"$work/said"
cat "$work/said"
for part in "AF_XDP ports: absent (install libxdp-dev)" "AF_XDP program loading: found (libbpf" \
  "verbs ports and the software verbs device: absent (install libibverbs-dev)" "the example host: absent (install libcli11-dev)"; do
  grep -qF "sluice: $part" "$work/said" || { echo "not said: $part" && exit 1; }
done
for stand_in in xdp_absent verbs_absent software_verbs_absent; do
  cmake --build "$work/build" --target CMakeFiles/sluice_objects.dir/lib/nic/$stand_in.cc.o
done
