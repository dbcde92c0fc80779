#!/usr/bin/env bash
# The demo behind `make demo`: a miniature of the source tree, mounted; a model learns from its tars.
# PYTHON: the python of the environment that imagenetfs is installed in.
set -euo pipefail

python=${PYTHON:-python3}
imagenetfs() { "$python" -m imagenetfs "$@"; }
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/imagenetfs-demo.XXXXXX")
trap 'rm -rf "$work"' EXIT

echo "1. a miniature of the source tree: images stand only in tars"
imagenetfs sample "$work/imagenet"
rm -rf "$work"/imagenet/ILSVRC2012/{train,validation,test,train_T3}
ls "$work/imagenet" "$work/imagenet/ILSVRC2012"

echo
echo "2. mount, train, unmount:"
echo "   imagenetfs run SOURCE -- python docs/examples/train.py --data '{mnt}/ILSVRC2012'"
imagenetfs run "$work/imagenet" --index-dir "$work/index" --at "$work/mnt" -- \
    "$python" "$here/train.py" --least 0.9 --data "{mnt}/ILSVRC2012"

echo
if grep -q "$work" /proc/self/mountinfo; then
    echo "the mount is still there: that is a bug" >&2
    exit 1
fi
echo "3. unmounted, and the miniature is deleted. With ImageNet, and a train.py of your own:"
bin=$(dirname "$(command -v "$python")")
echo "   $bin/imagenetfs run SOURCE -- python train.py --data '{mnt}/ILSVRC2012'"
echo "   One that stays, to try things with: $bin/imagenetfs sample try-imagenet"
