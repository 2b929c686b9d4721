#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The first process of the guest that build_guest.sh makes: loads the drivers, then does what the host says, and
# powers off when the host goes.
#
# The line to the host is a port of a virtio console. The host writes a shell command and a newline; the guest answers
# "STATUS LENGTH", a newline, and LENGTH bytes that the command wrote. With its first answer the guest is ready.
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
exec </dev/console >/dev/console 2>&1

modprobe -a $(cat /etc/modules)
ip link set lo up
until set -- /dev/vport*p1 && [ -e "$1" ]; do usleep 10000; done

exec 3<>"$1"
while read -r command <&3; do
  sh -c "$command" </dev/null >/tmp/output 2>&1 3>&-
  echo "$? $(stat -c %s /tmp/output)" >&3
  cat /tmp/output >&3
done
poweroff -f
