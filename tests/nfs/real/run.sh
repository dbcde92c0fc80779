#!/usr/bin/env bash
# run.sh PYTHON: the real thing. Boots a virtual machine, and shows what guest.sh sees in it; about ten minutes.
set -euo pipefail
cd "$(dirname "$0")/../../.."
python=$(readlink -m "$(dirname "$1")")/$(basename "$1")
parts=${NFS_PARTS:-/var/tmp/imagenetfs-nfs}  # on the root file system: that is what the machine is shown
mkdir -p "$parts"
[ -d "$parts/sample/ILSVRC2012" ] || "$python" -m imagenetfs sample "$parts/sample" >/dev/null
sed "s|PARTS|$parts|;s|REPOSITORY|$PWD|;s|SAMPLE|$parts/sample|;s|PYTHON|$python|" tests/nfs/real/guest.sh > "$parts/guest.sh"
timeout 1800 bash tests/nfs/real/boot.sh "$parts" "$parts/guest.sh" 2>&1 | tr -d '\r' | tee "$parts/log" | sed -n '/^.*== kernel/,/== end/p'
grep -q '== end' "$parts/log"
