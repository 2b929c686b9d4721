#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# cmake/install-packages.sh with dpkg, apt and sudo played by stand-ins: root is asked for only when something is missing,
# and then for that alone.
set -eu
script=$(cd "$(dirname "$0")/../.." && pwd)/cmake/install-packages.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

stand_in() { printf '#!/bin/sh\n%s\n' "$2" >"$work/$1" && chmod +x "$work/$1"; }
stand_in id 'echo 1000'
stand_in dpkg-query 'for last; do :; done; grep -qx "$last" "$WORK/missing" || echo "install ok installed"'
stand_in apt-get 'echo "apt-get $*" >>"$WORK/log"; [ "$1" = -s ] || : >"$WORK/missing"'
stand_in sudo 'echo "sudo $*" >>"$WORK/log"; exec "$@"'
export WORK="$work" PATH="$work:$PATH"

# run MISSING-PACKAGE...: the script's status, and what was asked of apt and sudo, for packages of the kinds in $kinds.
kinds=
run() {
  : >"$work/log"
  printf '%s\n' "$@" >"$work/missing"
  status=0
  # shellcheck disable=SC2086
  sh "$script" $kinds >"$work/out" 2>&1 || status=$?
  cat "$work/log"
  return $status
}
expect() { [ "$1" = "$2" ] || { printf 'wanted: %s\ngot: %s\n' "$2" "$1" && exit 1; }; }

expect "$(run)" ""
expect "$(cat "$work/out")" ""
expect "$(run ethtool cmake | grep -c '^sudo')" 1
expect "$(run ethtool cmake | grep '^sudo')" \
  "sudo env DEBIAN_FRONTEND=noninteractive apt-get -y -q install --no-install-recommends cmake ethtool"
expect "$(run openvswitch-switch-dpdk)" ""
kinds='required optional measured'
expect "$(run ethtool openvswitch-switch-dpdk | grep -c '^sudo.* ethtool openvswitch-switch-dpdk$')" 1
kinds=

# What cannot be had: a required package fails, an optional one is named.
stand_in apt-get 'exit 100'
expect "$(run ethtool >/dev/null && grep -c 'still missing, optional: ethtool' "$work/out")" 1
if run cmake >/dev/null; then echo "a required package that is missing must fail" && exit 1; fi
