#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Who is not root is told what the quickstart needs, at once, and nothing is built or changed.
set -eu
quickstart=$(dirname "$0")/../../examples/quickstart.sh
without_root() { if [ "$(id -u)" = 0 ]; then unshare --user "$@"; else "$@"; fi; }

status=0
said=$(without_root sh "$quickstart" 2>&1) || status=$?
echo "$said"
[ "$status" -eq 1 ]
case $said in
  *CAP_NET_ADMIN*"sudo sh examples/quickstart.sh"*) ;;
  *) exit 1 ;;
esac
