#!/bin/bash
# The real thing: NFSv3 by the kernel's own server and client, and what readers see of it through
# imagenetfs. Runs as the first process of a virtual machine (boot.sh). Its log is in EVIDENCE.md.
# shellcheck disable=SC2012  # names in the sample are plain: ls is enough
# shellcheck disable=SC1083  # {mnt} is for imagenetfs run
parts='PARTS' repository='REPOSITORY' sample='SAMPLE' python='PYTHON'
export PATH=$parts/root/sbin:$parts/root/usr/sbin:/usr/sbin:/sbin:/usr/bin:/bin
export HOME=/tmp/guest LC_ALL=C
export LD_LIBRARY_PATH=$parts/root/lib/x86_64-linux-gnu:$parts/root/usr/lib/x86_64-linux-gnu
export OPENBLAS_NUM_THREADS=1 IMAGENETFS_RUN_DIR=/tmp/guest/run TMPDIR=/tmp/guest
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
mount -t tmpfs -o mode=755 run /run; chmod 666 /dev/fuse; chmod 755 /root; ip link set lo up
mkdir -p /tmp/guest; cd "$repository" || exit 1

say() { echo "== $*"; }
try() { echo "\$ $*"; "$@" 2>&1 | tail -4; echo "   -> exit ${PIPESTATUS[0]}"; }
fs() { "$python" -P -m imagenetfs "$@"; }
# An image's sum, or the error of reading it.
sum() { { cat "$1" >/tmp/image; } 2>&1 && md5sum </tmp/image | cut -c1-8; }

ln -sf "$parts/root/bin/kmod" /usr/bin/kmod  # the links to it are absolute
touch /etc/exports
depmod -b "$parts/root" "$(uname -r)"
load() { modprobe -d "$parts/root" "$1" || echo "no $1"; }
for module in sunrpc lockd nfs nfsv3 nfsd fuse; do load "$module"; done
cp -an "$parts/root/etc/netconfig" /etc/ 2>/dev/null
mkdir -p /var/lib/nfs/rpc_pipefs /run/rpcbind /srv/exp /mnt/nfs /mnt/images
mount -t tmpfs -o size=200m exp /srv/exp; cp -r "$sample/ILSVRC2012" /srv/exp/
mount -t nfsd nfsd /proc/fs/nfsd
grep -q ^_rpc: /etc/passwd || echo '_rpc:x:65001:65534::/run/rpcbind:/usr/sbin/nologin' >> /etc/passwd
chmod 777 /run/rpcbind
rpcbind -f -i & sleep 2
touch /var/lib/nfs/etab /var/lib/nfs/rmtab
export_it() { exportfs -o rw,no_root_squash,fsid=1,insecure,no_subtree_check 127.0.0.1:/srv/exp; }
export_it; rpc.mountd -N 4; rpc.nfsd -N 4 4
mount.nfs 127.0.0.1:/srv/exp /mnt/nfs -o vers=3,nolock,soft,timeo=10,retrans=2,actimeo=3
say "kernel $(uname -r)"; grep /mnt/nfs /proc/mounts

start() { fs mount /mnt/nfs /mnt/images; }
stop() { fs umount --lazy /mnt/images; }
images=/mnt/images/ILSVRC2012
val() { ls "$images/val/$1" | sed -n "$2p" | sed "s|^|$images/val/$1/|"; }
archive=/srv/exp/ILSVRC2012/ILSVRC2012_img_val.tar
cp $archive /tmp/val.tar
restore() { cp /tmp/val.tar /srv/exp/new && mv /srv/exp/new $archive; chmod 644 $archive; sleep 4; }

say "1. mount and run"
start; class=$(ls "$images/val" | head -1)
echo "classes: $(ls "$images/val" | wc -l), images of one: $(ls "$images/val/$class" | wc -l)"
by_tar() { tar -xOf /tmp/val.tar "$(basename "$1")" | md5sum | cut -c1-8; }
one=$(val "$class" 1)
echo "an image through the mount: $(sum "$one"), by tar: $(by_tar "$one")"
stop
try fs run /mnt/nfs -- ls {mnt}

say "2. twenty groups, the source's at the eighteenth"
for n in $(seq -w 1 20); do echo "fsgroup$n:x:700$n:fsmember" >> /etc/group; done
echo "fsmember:x:65000:65000::/tmp/member:/bin/sh" >> /etc/passwd
echo "fsmember:x:65000:" >> /etc/group
install -d -o 65000 -g 65000 /tmp/member
chgrp 70018 /srv/exp; chmod 750 /srv/exp; sleep 4
as_member() {  # as_member GROUPS COMMAND...
    setpriv --reuid 65000 --regid 65000 "$1" \
        env HOME=/tmp/member IMAGENETFS_RUN_DIR=/tmp/member/run TMPDIR=/tmp/member "${@:2}"
}
member() { as_member --groups="$(seq -s, 70001 70020)" "$@"; }
try member ls /mnt/nfs
try member "$python" -P -m imagenetfs run /mnt/nfs -- ls {mnt}
chmod 755 /srv/exp; sleep 4

say "3. the server stopped for 60 s while reading"
start; cached=$(val "$class" 1); fresh=$(val "$class" 2); sum "$cached" >/dev/null
rpc.nfsd 0; began=$SECONDS
echo "cached: $(sum "$cached")"; echo "not cached: $(sum "$fresh") after $((SECONDS - began)) s"
while [ $((SECONDS - began)) -lt 60 ]; do sleep 1; done
rpc.nfsd -N 4 4; sleep 3
echo "back: $(sum "$fresh"), by tar: $(by_tar "$fresh")"
stop

change() {
    start; a=$(val "$class" 1); b=$(val "$class" 2)
    train=$(find "$images/train" -name '*.JPEG' | head -1)
    before=$(sum "$a"); "$@"; sleep 5
    echo "read before, again: $(sum "$a") (was $before)"; echo "not read before: $(sum "$b")"
    echo "another archive: $(sum "$train")"
}
report() {
    echo "lines in the log so far:" \
        "$(cat /tmp/guest/.local/state/imagenetfs/log/*.log | grep -c "is another file now")"
    stop; restore
}
other() { (tar -xf /tmp/val.tar -C /tmp/x && cd /tmp/x && ls | tac | tar -cf "$1" -T -); }
replace() { other /srv/exp/new; mv /srv/exp/new $archive; }
overwrite() { other /tmp/o.tar; dd if=/tmp/o.tar of=$archive conv=notrunc bs=1M status=none; }
mkdir -p /tmp/x
say "4. the archive replaced";    change replace; report
say "5. the archive overwritten"; change overwrite; report
say "6. the archive cut";         change truncate -s 100000 $archive; report
say "7. touched";                 change touch $archive; report
say "8. chmod 0600, for a user"
cat > /tmp/member/reader <<'END'
cd "$1/ILSVRC2012/val/$2" || exit
ls | head -3 > /tmp/member/names
md5sum < "$(sed -n 1p /tmp/member/names)" | cut -c1-8
touch /tmp/member/go; sleep 10
for n in 1 2; do { cat "$(sed -n ${n}p /tmp/member/names)" >/dev/null; } 2>&1 && echo read; done
END
as_member --clear-groups "$python" -P -m imagenetfs \
    run /mnt/nfs --revalidate 2 -- bash /tmp/member/reader {mnt} "$class" &
until [ -e /tmp/member/go ]; do sleep 0.2; done; chmod 600 $archive; wait $!; restore
say "9. unexported"; change exportfs -u 127.0.0.1:/srv/exp; export_it; sleep 3; echo "exported again: $(sum "$b")"; stop
say "10. reads that are announced, over a network of 1 ms"
load sch_netem; tc qdisc add dev lo root netem delay 1ms
"$python" tests/nfs/real/scan.py /srv/exp /mnt/nfs
say "end"; sync; echo o > /proc/sysrq-trigger; sleep 5
