#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Makes the guest of the tests: Debian's kernel for clouds, and an initramfs of busybox, iproute2 and the few files of
# this folder. Installs nothing on this machine, and does nothing when the guest is made of the same things already.
#
#   sh tests/vm/build_guest.sh             downloads the kernel package (26 MB) unless it is there
#   sh tests/vm/build_guest.sh --offline   makes do with the newest that is there; fails without one
#
#   build/vm/packages/*.deb                            kernel packages, by version
#   build/vm/guest/{kernel,initramfs,stream,made_of}   the guest; stream is also for the host's side
set -eu
here=$(cd "$(dirname "$0")" && pwd)
vm=$here/../../build/vm
modules='virtio_pci virtio_console virtio_net geneve vxlan 8021q'
programs='dash ip nstat iperf3 ethtool'
PATH=$PATH:/usr/sbin:/sbin

fail() {
  echo "build_guest: $*" >&2
  exit 1
}

for needed in busybox cpio depmod c++ dpkg-deb $programs; do
  command -v "$needed" >/dev/null || fail "no $needed here (cmake/packages.txt names the packages of guests)"
done
mkdir -p "$vm/packages"
exec 9>"$vm/lock"
flock 9
work=$(mktemp -d -p "$vm")
trap 'rm -rf "$work"' EXIT

# 1. The kernel package: by the name that the newest has, as far as apt's lists know. apt tells it only where no file of
#    that name is.
newest_name() {
  name=$(apt-cache depends linux-image-cloud-amd64 2>/dev/null | awk '/Depends: linux-image/ { print $2; exit }')
  [ -z "$name" ] || (cd "$work" && apt-get download --print-uris "$name" 2>/dev/null | awk '{ print $2 }')
}
# In its place it is only when it is whole.
fetch_newest() {
  package=$(newest_name)
  [ -n "$package" ] || return 1
  [ ! -e "$vm/packages/$package" ] || return 0
  (cd "$work" && apt-get -q -o APT::Sandbox::User=root download "${package%%_*}") || return 1
  mv "$work"/*.deb "$vm/packages/"
}
if [ "${1:-}" != --offline ]; then
  # Lists that are missing, or older than the mirror, are renewed.
  fetch_newest || { apt-get -q update && fetch_newest; } || echo "build_guest: no kernel package from apt" >&2
fi
package=$(find "$vm/packages" -maxdepth 1 -name '*.deb' | sort -V | tail -n 1)
[ -n "$package" ] || fail "no kernel package; sh tests/vm/build_guest.sh downloads one"

# 2. Is the guest made of these very things already?
made_of() {
  basename "$package"
  for program in busybox $programs; do command -v "$program"; done |
    xargs cat "$here/build_guest.sh" "$here/init.sh" "$here/stream.cc" | sha256sum
}
[ "$(made_of)" != "$(cat "$vm/guest/made_of" 2>/dev/null)" ] || exit 0

root=$work/root
mkdir -p "$work/guest" "$root/bin" "$root/dev" "$root/etc" "$root/proc" "$root/sys" "$root/tmp"

# 3. The kernel, and of its modules those that are wanted with those that they need.
dpkg-deb -x "$package" "$work/package"
cp "$work"/package/boot/vmlinuz-* "$work/guest/kernel"
version=$(ls "$work/package/lib/modules")
from=$work/package/lib/modules/$version to=$root/lib/modules/$version
depmod -b "$work/package" "$version"
mkdir -p "$to"
for module in $modules; do
  line=$(grep "/$module\.ko:" "$from/modules.dep") || fail "no module $module in $(basename "$package")"
  echo "$line" >>"$to/modules.dep"
  for file in $(echo "$line" | tr -d :); do
    mkdir -p "$to/$(dirname "$file")"
    cp "$from/$file" "$to/$file"
    grep "^$file:" "$from/modules.dep" >>"$to/modules.dep"
  done
done
sort -u -o "$to/modules.dep" "$to/modules.dep"
echo "$modules" >"$root/etc/modules"

# 4. Programs, each with the libraries that it is linked with, at the same paths.
for program in busybox $programs; do
  file=$(command -v "$program")
  cp -L "$file" "$root/bin/$program"
  ldd "$file" 2>/dev/null | grep -o '/[^ ]*' | while read -r library; do
    mkdir -p "$root$(dirname "$library")"
    cp -L "$library" "$root$library"
  done
done
ln -s dash "$root/bin/sh"  # that of busybox takes its own ip for any other
for applet in $(busybox --list); do
  [ -e "$root/bin/$applet" ] || ln -s busybox "$root/bin/$applet"
done
c++ -std=c++20 -O2 -static -s -o "$work/guest/stream" "$here/stream.cc"
cp "$work/guest/stream" "$root/bin/stream"
cp "$here/init.sh" "$root/init"
chmod 755 "$root/init"

# 5. Not compressed: an emulated processor takes longer to unpack than QEMU to load it.
(cd "$root" && find . | cpio -o -H newc -R 0:0 --quiet) >"$work/guest/initramfs"
made_of >"$work/guest/made_of"
rm -rf "$vm/guest"
mv "$work/guest" "$vm/guest"
