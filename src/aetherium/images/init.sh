#!/bin/busybox sh
# Process 1 of the initramfs: find the drives by their serials, put a writable overlay over the root file
# system, and become the agent. Every program that is started costs about 10 ms where there is no KVM, so
# there are few.
#
# Kernel arguments: aetherium.init=PATH starts PATH of the root file system instead of the agent.

set -f
A=/.aetherium
B=/bin/busybox

fail() {
    echo "aetherium: boot failed: $*" >/dev/console
    $B poweroff -f
    while :; do $B sleep 60; done
}

insert() {
    read -r modules </etc/modules."$1"
    # Words, not one word: shellcheck disable=SC2086
    $B modprobe -a $modules || fail "cannot insert the modules $modules"
}

$B mount -a -T /etc/first || fail 'cannot mount sysfs, devtmpfs and proc'
insert drives

init=
read -r line </proc/cmdline
for word in $line; do
    case $word in aetherium.init=*) init=${word#*=} ;; esac
done

root= agent= scratch=
for name in a b c d e f g h; do
    [ -e /sys/block/vd$name/serial ] || continue
    # The kernel ends it without a newline, which "read" reports, having read it.
    read -r serial </sys/block/vd$name/serial || :
    case $serial in
    root) root=/dev/vd$name ;;
    agent) agent=/dev/vd$name ;;
    scratch) scratch=/dev/vd$name ;;
    esac
done
[ -n "$root" ] || fail 'there is no drive with the serial "root"'
[ -n "$agent" ] || fail 'there is no drive with the serial "agent"'
[ -n "$scratch" ] || fail 'there is no drive with the serial "scratch"'

number=0
while [ -e /sys/bus/virtio/devices/virtio$number ]; do
    read -r kind </sys/bus/virtio/devices/virtio$number/device
    case $kind in
    0x0001) insert net ;;
    0x0004) insert rng ;;
    0x0013) insert vsock ;;
    esac
    number=$((number + 1))
done

$B mount -t ext4 -o noatime,nodev "$scratch" /scratch || fail 'the drive "scratch" holds no ext4 file system'
[ -d /scratch/work ] || $B mkdir -p /scratch/upper /scratch/work
$B cp -a /nodes/. /dev || fail 'cannot complete /dev'
echo "$root /lower squashfs ro 0 0
overlay /root overlay lowerdir=/lower,upperdir=/scratch/upper,workdir=/scratch/work 0 0
$agent /root$A squashfs ro,nodev,nosuid 0 0
proc /root/proc proc nosuid,nodev,noexec 0 0
sysfs /root/sys sysfs nosuid,nodev,noexec 0 0
devtmpfs /root/dev devtmpfs mode=0755,nosuid 0 0
devpts /root/dev/pts devpts gid=5,mode=0620,ptmxmode=0666,nosuid,noexec 0 0
tmpfs /root/dev/shm tmpfs mode=1777,nosuid,nodev 0 0
tmpfs /root/run tmpfs mode=0755,nosuid,nodev 0 0
cgroup2 /root/sys/fs/cgroup cgroup2 nosuid,nodev,noexec 0 0" >/etc/second
$B mount -a -T /etc/second || fail 'cannot mount the root file system, the agent drive, or what belongs below them'
$B ip link set lo up

if [ -n "$init" ]; then
    exec $B switch_root /root "$init"
fi
L=$A/lib/x86_64-linux-gnu
exec $B switch_root /root $L/ld-linux-x86-64.so.2 --library-path $L:$A/usr/lib/x86_64-linux-gnu \
    $A/usr/bin/python3.11 -I -S -B -X utf8 -c 'import sys
sys.path[:] = ["/.aetherium/usr/lib/python3.11", "/.aetherium/usr/lib/python3.11/lib-dynload", "/.aetherium/agent"]
from aetherium.guest.__main__ import main
main()' --listen virtio:org.aetherium.agent.
