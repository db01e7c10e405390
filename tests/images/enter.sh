#!/usr/bin/env bash
# Run a program in an image as a careful container engine does: the root read-only, no privileges to gain, its own
# processes; only the network is the machine's. check_images.py starts it in namespaces of its own.
#
#   enter.sh ROOT USER GROUP FOLDER PROGRAM...    with the environment that the program shall have
set -euo pipefail
root=$1 user=$2 group=$3 folder=$4
shift 4
PATH=$PATH:/usr/sbin:/usr/bin:/sbin:/bin

mount --bind "$root" "$root"
mount -o remount,ro,bind "$root"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount -t tmpfs -o mode=0755 tmpfs "$root/dev"
mkdir -m 1777 "$root/dev/shm"
for device in null zero random urandom; do
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
exec setpriv --no-new-privs unshare --root="$root" --wd="$folder" --setgid="$group" --setuid="$user" "$@"
