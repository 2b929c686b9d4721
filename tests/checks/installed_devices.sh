#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The software verbs devices as they are installed: ibv_devinfo, which knows nothing of them, finds the one of a file.
#
#   installed_devices.sh <launcher>
set -eu
command -v ibv_devinfo >/dev/null || { echo "ibv_devinfo is not installed: see cmake/packages.txt" && exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM HUP

printf 'device soft0\n  mtu 2500\n' >"$work/conf"
"$1" "$work/conf" -- ibv_devinfo -d soft0 >"$work/said"
cat "$work/said"
for fact in soft0 PORT_ACTIVE "active_mtu:.*2048" "link_layer:.*Ethernet"; do
  grep -q "$fact" "$work/said" || { echo "not said: $fact" && exit 1; }
done
if "$1" "$work/conf" -- ibv_devinfo -d soft1 >/dev/null 2>&1; then echo "a device that is not there was found" && exit 1; fi
