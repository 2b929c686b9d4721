#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Becomes a QEMU that runs the guest of build_guest.sh, until the guest powers off or this process is ended.
#
#   sh tests/vm/run_guest.sh LINE CONSOLE [QEMU OPTION]...
#
#   LINE     a unix socket on which the caller listens: the guest does what is written there (init.sh)
#   CONSOLE  a file for the messages of the guest's kernel
#   the rest gives the guest its network, as: -netdev user,id=n0 -device virtio-net-pci,netdev=n0,romfile=
#
# Emulated, also where there is KVM: the guest is the same on every machine. Two processors, for with one QEMU 7.2
# leaves out memory barriers that a back-end outside of QEMU relies on. Memory is shared, as vhost-user needs it.
set -eu
guest=$(dirname "$0")/../../build/vm/guest
line=$1 console=$2
shift 2
exec qemu-system-x86_64 -nodefaults -no-user-config -display none -no-reboot \
  -machine q35,memory-backend=memory,smm=off,sata=off,usb=off,smbus=off,vmport=off \
  -accel tcg,thread=multi -smp 2 -m 256 -object memory-backend-memfd,id=memory,size=256M,share=on \
  -kernel "$guest/kernel" -initrd "$guest/initramfs" \
  -append "console=ttyS0 quiet panic=-1 nokaslr mitigations=off tsc=reliable no_timer_check random.trust_cpu=on \
cryptomgr.notests" \
  -serial "file:$console" -chardev "socket,id=line,path=$line" -device virtio-serial-pci,max_ports=2 \
  -device virtserialport,chardev=line,name=line "$@"
