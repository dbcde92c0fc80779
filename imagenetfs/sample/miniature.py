"""The miniature source tree: every version and every file of the real one, small and drawn."""

from __future__ import annotations

from pathlib import Path

from imagenetfs.sample import downsampled, ilsvrc2012, members, target, tiny, winter21
from imagenetfs.sample.pictures import Painter
from imagenetfs.sample.plan import Plan

DEFAULT_CLASSES = 10
DEFAULT_IMAGES = 80


def make_sample(
    directory: Path,
    *,
    classes: int = DEFAULT_CLASSES,
    images: int = DEFAULT_IMAGES,
    seed: int = 0,
    progress: target.OnProgress | None = None,
) -> None:
    """Make a source tree in ``directory``, which is made or must be empty.

    ``images`` is the mean number of train images a class; the other splits and versions follow
    in proportion. The same arguments give the same bytes, names, modes and times everywhere (with
    the same versions of Pillow and zlib). ``progress`` is called with a step's name and the part
    of all work that is done, 0 to 1.

    Raises errors.UsageError (arguments, or a directory that is not empty or not writable),
    errors.NoSpaceError and errors.MissingPackageError; nothing is then left behind.
    """
    plan = Plan(classes, images, seed)
    painter = Painter()
    tell = progress or target.no_progress
    with target.building(directory) as staging:
        tell("ILSVRC2012", 0.0)
        thumbnails = ilsvrc2012.write(
            staging / "ILSVRC2012", plan, painter, lambda done: tell("ILSVRC2012", 0.6 * done)
        )
        tell("winter21_whole", 0.6)
        winter21.write(staging / "winter21_whole", plan, painter, staging / "ILSVRC2012")
        tell("tiny-imagenet-200", 0.75)
        tiny.write(staging / "tiny-imagenet-200", plan, painter)
        tell("DownSampled", 0.85)
        downsampled.write(staging / "DownSampled", plan, thumbnails)
        target.settle(staging, members.JUNE_2012)
    tell("done", 1.0)
