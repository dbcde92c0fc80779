"""Two or three examples of each command, for its help and its man page.

A test has the parser take each one.
"""

from __future__ import annotations

from typing import NamedTuple


class Example(NamedTuple):
    """What is done, and the command line that does it."""

    what: str
    command: str


EXAMPLES: dict[str, tuple[Example, ...]] = {
    "": (
        Example(
            "Train on a mount that ends with the command",
            "imagenetfs run /datashare/imagenet -- python train.py --data '{mnt}/ILSVRC2012'",
        ),
        Example("Mount it by hand", "imagenetfs mount /datashare/imagenet ~/mnt"),
        Example("See why it does not work, or is slow", "imagenetfs doctor /datashare/imagenet"),
    ),
    "mount": (
        Example("Mount an archive directory", "imagenetfs mount /datashare/imagenet ~/mnt"),
        Example(
            "The source of $IMAGENETFS_SOURCE, at a new directory that goes with the mount",
            "imagenetfs mount --make /tmp/imagenet",
        ),
        Example(
            "With a cache on the local disk, filled ahead with train",
            "imagenetfs mount ~/mnt --cache-dir /scratch/cache --stage ILSVRC2012/train",
        ),
    ),
    "umount": (
        Example("End a mount", "imagenetfs umount ~/mnt"),
        Example("Even while files in it are open", "imagenetfs umount --lazy ~/mnt"),
    ),
    "run": (
        Example(
            "Train; the command sees the mountpoint for {mnt}",
            "imagenetfs run /datashare/imagenet -- python train.py --data '{mnt}/ILSVRC2012'",
        ),
        Example(
            "Refuse to start where train or val is not there, and sum up at the end",
            "imagenetfs run --summary --require ILSVRC2012/train,ILSVRC2012/val -- "
            "python train.py --data '{mnt}/ILSVRC2012'",
        ),
        Example(
            "A shell in which the mount is there, always at the same place",
            "imagenetfs run --at /tmp/imagenet -- bash",
        ),
    ),
    "enter": (
        Example("A shell within this job's mount", "imagenetfs enter"),
        Example(
            "One command within the mount of job 4711",
            "imagenetfs enter 4711 -- ls '{mnt}/ILSVRC2012'",
        ),
    ),
    "status": (
        Example("All your mounts on this node", "imagenetfs status"),
        Example("One of them, for a program", "imagenetfs status ~/mnt --json"),
    ),
    "info": (
        Example("Count what is there", "imagenetfs info /datashare/imagenet"),
        Example("Only see what is there", "imagenetfs info --quick /datashare/imagenet"),
    ),
    "show": (
        Example("A class by its name", "imagenetfs show /datashare/imagenet 'kit fox'"),
        Example(
            "An image of a mount",
            "imagenetfs show ~/mnt/ILSVRC2012/val/n01443537/ILSVRC2012_val_00000994.JPEG",
        ),
        Example(
            "Look at five classes of val, to see that the labels are right",
            "imagenetfs show /datashare/imagenet ILSVRC2012/val --sheet val.png --classes 5",
        ),
    ),
    "index": (
        Example("Index all, so that no job waits for it", "imagenetfs index /datashare/imagenet"),
        Example(
            "One version, into a directory for the whole group",
            "imagenetfs index /datashare/imagenet winter21_whole "
            "--index-dir /project/imagenet-index",
        ),
        Example(
            "A quarter of it, in an array of four jobs",
            "imagenetfs index winter21_whole --shard 1/4",
        ),
    ),
    "index check": (
        Example("Verify what is kept", "imagenetfs index check /datashare/imagenet"),
        Example(
            "Verify a group's index", "imagenetfs index check --index-dir /project/imagenet-index"
        ),
    ),
    "index export": (
        Example(
            "Into one file", "imagenetfs index export imagenet.index --source /datashare/imagenet"
        ),
        Example("Of the source of $IMAGENETFS_SOURCE", "imagenetfs index export imagenet.index"),
    ),
    "index import": (
        Example(
            "Take another site's index over",
            "imagenetfs index import imagenet.index --source /datashare/imagenet",
        ),
        Example(
            "Into a directory for the whole group",
            "imagenetfs index import imagenet.index --index-dir /project/imagenet-index",
        ),
    ),
    "stage": (
        Example("Bring train into $SLURM_TMPDIR", "imagenetfs stage ILSVRC2012/train"),
        Example(
            "Into a cache of your own, and leave the network some air",
            "imagenetfs stage /datashare/imagenet ILSVRC2012/train --cache-dir /scratch/cache "
            "--limit 500M",
        ),
        Example(
            "The second quarter of it, on the second of four nodes",
            "imagenetfs stage ILSVRC2012/train --shard 2/4",
        ),
    ),
    "cache": (
        Example("What is kept here", "imagenetfs cache ls"),
        Example("Make room", "imagenetfs cache clear winter21_whole"),
    ),
    "cache ls": (
        Example("What is kept in this job's cache", "imagenetfs cache ls"),
        Example(
            "In another, for a program", "imagenetfs cache ls --cache-dir /scratch/cache --json"
        ),
    ),
    "cache verify": (
        Example("Verify this job's cache", "imagenetfs cache verify"),
        Example("Another one", "imagenetfs cache verify --cache-dir /scratch/cache"),
    ),
    "cache clear": (
        Example("Throw all away", "imagenetfs cache clear"),
        Example(
            "Two versions of another cache",
            "imagenetfs cache clear winter21_whole Imagenet64 --cache-dir /scratch/cache",
        ),
    ),
    "verify": (
        Example(
            "Everything, md5 sums of the archives too", "imagenetfs verify /datashare/imagenet"
        ),
        Example("In minutes, without the sums", "imagenetfs verify --quick /datashare/imagenet"),
    ),
    "doctor": (
        Example("Before the first mount", "imagenetfs doctor /datashare/imagenet"),
        Example("While a mount is up, of its source", "imagenetfs doctor"),
        Example("Take dead mounts away", "imagenetfs doctor --heal"),
    ),
    "bench": (
        Example(
            "A source, by mounting it for half a minute", "imagenetfs bench /datashare/imagenet"
        ),
        Example("For a program", "imagenetfs bench /datashare/imagenet --json"),
    ),
    "settings": (
        Example("What holds here, and why", "imagenetfs settings"),
        Example("For a program", "imagenetfs settings --json"),
    ),
    "sample": (
        Example("A miniature to try things with", "imagenetfs sample ~/imagenet"),
        Example(
            "Larger, for an evening's training",
            "imagenetfs sample ~/imagenet --classes 100 --images 500",
        ),
        Example(
            "The real archives' shape, without their images",
            "imagenetfs sample ~/shape --full-size",
        ),
    ),
}
