#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs what is missing of packages.txt, and does nothing when nothing is. Root is asked for, by sudo, only then. Fails
# when a required package cannot be had; an optional one that cannot is named with what it would be for.
#
#   sh cmake/install-packages.sh            what is required and what is optional
#   sh cmake/install-packages.sh KIND...    only what is of these kinds; "required": what the build needs
set -u
list=$(dirname "$0")/packages.txt
kinds=${*:-required optional}

# Prints "<required|optional> <package> <purpose>" a line.
packages() {
  awk '/^# (required|optional|measured):/ { kind = substr($2, 1, 8); purpose = substr($0, 13); next }
       /^[a-z]/ { print kind, $1, purpose }' "$list"
}

installed() { dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q '^install ok installed$'; }

# The lines of packages() that are of one of the given kinds and not installed.
missing() {
  packages | while read -r kind package purpose; do
    case " $* " in
      *" $kind "*) installed "$package" || echo "$kind $package $purpose" ;;
    esac
  done
}

names() { awk '{ print $2 }' | tr '\n' ' '; }

# Nothing here may wait for an answer: CI has no one to give it.
apt() {
  if [ "$(id -u)" -eq 0 ]; then
    env DEBIAN_FRONTEND=noninteractive apt-get -y -q "$@" </dev/null
  else
    sudo env DEBIAN_FRONTEND=noninteractive apt-get -y -q "$@" </dev/null
  fi
}

# $* is a list of names, split on purpose.
# shellcheck disable=SC2048,SC2086
install_all() {
  # An update only when apt's lists do not know a name, or know a version that the mirror no longer has.
  apt-get -s install $* >/dev/null 2>&1 || apt update
  apt install --no-install-recommends $* && return
  apt update
  # One package that cannot be had must not keep the others away.
  for name in $*; do apt install --no-install-recommends "$name"; done
}

# shellcheck disable=SC2086
wanted=$(missing $kinds | names)
[ -n "$wanted" ] || exit 0
echo "install-packages: missing: $wanted"

if ! command -v apt-get >/dev/null 2>&1; then
  echo "install-packages: no apt-get here; install what stands for these packages by your system's own means" >&2
elif [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null 2>&1; then
  echo "install-packages: apt-get needs root, and there is no sudo; as root: apt-get install $wanted" >&2
else
  install_all "$wanted"
fi

# shellcheck disable=SC2086
missing $kinds | while read -r kind package purpose; do
  echo "install-packages: still missing, $kind: $package ($purpose)" >&2
done
[ -z "$(missing required)" ]
