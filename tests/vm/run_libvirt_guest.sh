#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Has libvirt run the guest of build_guest.sh, with the network card that README.md shows, until this process is ended.
#
#   sh tests/vm/run_libvirt_guest.sh LINE CONSOLE SOCKET MODE MAC
#
#   LINE, CONSOLE  as in run_guest.sh; what libvirt keeps is put beside LINE
#   SOCKET         the card's
#   MODE           of libvirt's end: client or server
#
# A libvirtd for this guest alone, as a user without rights would have it, in a PID namespace: so QEMU, which it detaches,
# ends with this process.
set -eu
if [ "${1:-}" != --inside ]; then
  exec unshare --user --map-user=65534 --map-group=65534 --pid --fork --kill-child --mount-proc sh "$0" --inside "$@"
fi
line=$2 console=$3 socket=$4 mode=$5 mac=$6
tree=$(cd "$(dirname "$0")/../.." && pwd)
home=$(dirname "$line")/libvirt
mkdir "$home"
export HOME="$home" XDG_RUNTIME_DIR="$home" XDG_CONFIG_HOME="$home" XDG_CACHE_HOME="$home" XDG_DATA_HOME="$home"

# 1. The README's words, of this socket. Where libvirt listens, it cannot reconnect. Beyond them: no boot ROM, and no interrupt
#    vectors, with which QEMU 7.2 crashes where there is no KVM.
memory=$(grep -m 1 '<memoryBacking>' "$tree/README.md")
card=$(sed -n "/<interface type='vhostuser'>/,/<\/interface>/p" "$tree/README.md" |
  sed "s|path='[^']*' mode='client'|path='$socket' mode='$mode'|
    s|</interface>|<mac address='$mac'/><rom enabled='no'/>&|")
[ "$mode" = client ] || card=$(echo "$card" | sed 's|<reconnect [^>]*/>||')
cat >"$home/guest.xml" <<XML
<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>guest</name><memory unit='MiB'>256</memory><vcpu>2</vcpu>
  $memory
  <os>
    <type arch='x86_64' machine='q35'>hvm</type>
    <kernel>$tree/build/vm/guest/kernel</kernel><initrd>$tree/build/vm/guest/initramfs</initrd>
    <cmdline>console=ttyS0 quiet panic=-1 nokaslr mitigations=off tsc=reliable no_timer_check random.trust_cpu=on</cmdline>
  </os>
  <features><acpi/><apic/></features>
  <devices>
    $card
    <serial type='file'><source path='$console'/></serial>
    <channel type='unix'><source mode='connect' path='$line'/><target type='virtio' name='line'/></channel>
    <controller type='usb' model='none'/><memballoon model='none'/>
  </devices>
  <qemu:override>
    <qemu:device alias='net0'>
      <qemu:frontend><qemu:property name='vectors' type='unsigned' value='0'/></qemu:frontend>
    </qemu:device>
  </qemu:override>
</domain>
XML

# 2. libvirtd, and the guest when that listens.
libvirtd >"$home/log" 2>&1 &
tries=0
until virsh -q -c qemu:///session list >/dev/null 2>&1; do
  tries=$((tries + 1))
  [ $tries -lt 100 ] || { cat "$home/log"; exit 1; }
  sleep 0.1
done
virsh -q -c qemu:///session create "$home/guest.xml" || { cat "$home/log"; exit 1; }
wait
