#!/bin/bash
# boot.sh ROOT SOURCE: boot this machine's systemd as PID 1 of namespaces of its own, over a copy of / that is
# never written through. Called by machine.py within
#     unshare --pid --fork --kill-child --mount --uts --ipc --net --cgroup
# A systemd that is booted over the real /tmp and /run empties them for the whole machine. So every one of
# them is private before it starts, this is looked at once more at the end, and any doubt ends the script.
set -euo pipefail
root=$1 source=$2

mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs "$root"
mkdir "$root/upper" "$root/work" "$root/new"
mount -t overlay -o "lowerdir=/,upperdir=$root/upper,workdir=$root/work" overlay "$root/new"
new=$root/new

# The interpreter, its environment or this repository may lie in root's home: open the way in the copy (upper
# half, in memory).
for path in "$PYTHON" "$(readlink -f "$PYTHON")" "$(readlink -f "$0")"; do
    for ((at = ${#path} - 1; at > 0; at--)); do
        if [ "${path:at:1}" = / ] && [ -d "$new${path:0:at}" ]; then chmod o+rx "$new${path:0:at}"; fi
    done
done

for directory in tmp run var/tmp dev sys; do
    mount -t tmpfs -o mode=755 tmpfs "$new/$directory"
done
chmod 1777 "$new/tmp" "$new/var/tmp"
for device in null zero full random urandom tty; do
    touch "$new/dev/$device"
    mount --bind "/dev/$device" "$new/dev/$device"
done
mknod -m 666 "$new/dev/fuse" c 10 229
mkdir "$new/dev/shm"
mount -t tmpfs tmpfs "$new/dev/shm"
mount -t proc proc "$new/proc"
mount --bind -o ro "$new/proc/sys" "$new/proc/sys"
if [ -e /proc/sysrq-trigger ]; then mount --bind -o ro "$new/proc/sysrq-trigger" "$new/proc/sysrq-trigger"; fi
mkdir -p "$new/sys/fs/cgroup"
mount -t cgroup2 cgroup2 "$new/sys/fs/cgroup"

mkdir -p "$new/srv/imagenet" "$new/old"
mount --bind -o ro "$source" "$new/srv/imagenet"
cp -r "$root.files/." "$new/"

cd "$new"
pivot_root . old
# From here on nothing of the real tree may be within reach but through the overlay's lower half.
umount -l /old
for directory in / /tmp /run /var/tmp /dev /sys; do
    kind=$(stat -f -c %T "$directory")
    case $directory:$kind in
    /:overlayfs | /?*:tmpfs) ;;
    *) echo "$directory is $kind: not booting" >&2 && exit 1 ;;
    esac
done
[ -z "$(ls -A /tmp)" ] || { echo "/tmp is not empty: not booting" >&2; exit 1; }

export container=imagenetfs-test
exec setpriv --bounding-set=-sys_boot,-sys_time,-sys_module,-sys_rawio,-syslog \
    /lib/systemd/systemd --system --unit=basic.target --log-target=console --show-status=no
