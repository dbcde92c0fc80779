"""``imagenetfs sample DIR``: a miniature of the source tree, or its full-size shape."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from imagenetfs.cli.parser import App
from imagenetfs.cli.progress import ProgressBar
from imagenetfs.cli.terminal import say
from imagenetfs.errors import UsageError

_ClassesOption = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        help="Classes of ILSVRC2012 (default: 10), or of that version (default: all).",
        show_default=False,
    ),
]
_ImagesOption = Annotated[
    int | None,
    typer.Option(
        metavar="N", min=1, help="Train images a class (default: 80).", show_default=False
    ),
]


def register(app: App) -> None:
    """Add this command."""
    app.command("sample")(sample)


def sample(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="Where to make it: empty, or not there yet.")
    ],
    version: Annotated[
        str | None,
        typer.Argument(
            metavar="[VERSION]",
            help="With --full-size: winter21_whole alone, with all 13,153,500 images (54 GB on "
            "disk; --classes 2000 makes a tenth of it).",
            show_default=False,
        ),
    ] = None,
    classes: _ClassesOption = None,
    images: _ImagesOption = None,
    seed: Annotated[int, typer.Option(metavar="S", help="Another seed draws other pictures.")] = 0,
    full_size: Annotated[
        bool,
        typer.Option(
            "--full-size",
            help="The real archives' shape, with holes for the images: about 5 GB on disk.",
        ),
    ] = False,
) -> None:
    """Make a small ImageNet to try everything with: every version, real
    JPEGs, the same each time.

    Pillow draws the images: pip install pillow.
    """
    from imagenetfs.sample import DEFAULT_CLASSES, DEFAULT_IMAGES, make_full_size, make_sample

    if version is not None and not full_size:
        raise UsageError(f"A version is named with --full-size only: say --full-size {version}.")
    if full_size and (images is not None or (classes is not None and version is None)):
        raise UsageError("--full-size has its own number of classes and images.")
    with ProgressBar("Making a sample") as bar:
        if full_size:
            make_full_size(
                directory, seed=seed, version=version, classes=classes, progress=bar.fraction
            )
        else:
            make_sample(
                directory,
                classes=classes or DEFAULT_CLASSES,
                images=images or DEFAULT_IMAGES,
                seed=seed,
                progress=bar.fraction,
            )
    say(f"try it: imagenetfs run {shlex.quote(str(directory))} -- ls {{mnt}}")
