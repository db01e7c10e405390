#!/usr/bin/env bash
# Run a program in an image like a strict container engine: read-only root file system, no new privileges, separate
# processes. Only the network is shared with the machine. image.py starts this script in new namespaces.
#
#   enter.sh ROOT USER GROUP FOLDER PROGRAM...    The program inherits the environment of this script.
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
