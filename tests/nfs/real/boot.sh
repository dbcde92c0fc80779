#!/usr/bin/env bash
# boot.sh WORK COMMAND: run a command as root in a virtual machine whose kernel has an NFS server and client.
# Its root is this machine's, with everything that is written kept in memory. WORK is a directory for the parts.
set -euo pipefail

work=$1 command=$2
mkdir -p "$work/debs" "$work/root" "$work/initrd"
if [ ! -e "$work/ready" ]; then
    kernel=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: //p')
    (cd "$work/debs" && apt-get -qq download "$kernel" nfs-kernel-server nfs-common rpcbind libtirpc3 libtirpc-common \
        libnfsidmap1 libevent-core-2.1-7 libwrap0 keyutils kmod libkmod2 libdevmapper1.02.1 2>/dev/null)
    for package in "$work"/debs/*.deb; do dpkg -x "$package" "$work/root"; done
    touch "$work/ready"
fi
release=$(ls "$work/root/lib/modules")

initrd=$work/initrd
mkdir -p "$initrd"/{bin,proc,dev,host,up,new,modules}
cp /bin/busybox "$initrd/bin/busybox"
order="virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci fuse virtiofs overlay"
for module in $order; do
    cp "$(find "$work/root/lib/modules/$release" -name "$module.ko")" "$initrd/modules/"
done
cat > "$initrd/init" <<INIT
#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t devtmpfs dev /dev
for module in $order; do insmod /modules/\$module.ko; done
mount -t virtiofs -o ro host /host
mount -t tmpfs -o mode=755 up /up; mkdir /up/upper /up/work
mount -t overlay -o lowerdir=/host,upperdir=/up/upper,workdir=/up/work root /new
umount /proc
exec switch_root /new /bin/bash $command
INIT
chmod +x "$initrd/init"
(cd "$initrd" && find . | busybox cpio -o -H newc 2>/dev/null | gzip -1) > "$work/initrd.gz"

socket=$work/virtiofs.sock
rm -f "$socket"
/usr/lib/qemu/virtiofsd --socket-path="$socket" -o source=/ -o sandbox=chroot -o cache=always &>"$work/virtiofsd.log" &
server=$!
trap 'kill $server 2>/dev/null || true' EXIT
while [ ! -S "$socket" ]; do sleep 0.1; done
qemu-system-x86_64 -accel tcg,thread=multi -cpu max -smp 2 -m 2048 -nographic -no-reboot -nic none \
    -kernel "$work/root/boot/vmlinuz-$release" -initrd "$work/initrd.gz" -append "console=ttyS0 quiet panic=-1" \
    -object memory-backend-memfd,id=mem,size=2048M,share=on -numa node,memdev=mem \
    -chardev socket,id=host,path="$socket" -device vhost-user-fs-pci,chardev=host,tag=host
