"""``imagenetfs show [SOURCE] WHAT``: a class, an image, a split, in words or as a picture."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imagenetfs.cli import completion, options
from imagenetfs.cli.parser import App, with_usage
from imagenetfs.cli.show_sheet import SheetRequest, write_sheet
from imagenetfs.cli.show_text import lines_of
from imagenetfs.cli.terminal import fields, say, show_json
from imagenetfs.errors import UsageError
from imagenetfs.job import preflight
from imagenetfs.job.clients import MountClient
from imagenetfs.job.mount_paths import find_paths
from imagenetfs.job.status import source_of
from imagenetfs.system import mounts

if TYPE_CHECKING:
    from imagenetfs.config import Settings
    from imagenetfs.library.opened import OpenedSource

_MOST_SHOWN = 20


_SheetOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Draw the images into this file, PNG or JPEG, with their names. Needs Pillow.",
        show_default=False,
    ),
]
_ClassesOption = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        help="Of a split: a row of images each of N random classes, instead of a random batch.",
        show_default=False,
    ),
]
_ImagesOption = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        help="Images of a class or batch (default: 32), or in a row (default: 8).",
        show_default=False,
    ),
]


def register(app: App) -> None:
    """Add this command."""
    app.command("show", cls=with_usage("[OPTIONS] [SOURCE] WHAT"))(show)


def show(
    context: typer.Context,
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="[SOURCE] WHAT",
            help="A word ('kit fox'), a WordNet id, a split (ILSVRC2012/val), an image's name, or "
            "a path in the tree or in a mount. SOURCE may be a mountpoint.",
            autocompletion=completion.splits,
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
    sheet: _SheetOption = None,
    classes: _ClassesOption = None,
    images: _ImagesOption = None,
    seed: Annotated[int, typer.Option(metavar="S", help="Another seed draws others.")] = 0,
    source: options.SourceOption = None,
    index_dir: options.IndexDirOption = None,
    prefer: options.PreferOption = None,
    view: options.ViewOption = None,
) -> None:
    """Show what a class, an image or a split is, and where it comes from.

    Finds classes by their words, and lists them where several are meant: dog lists all
    breeds. Reads the source itself:
    no mount is needed, but the source of one is found by its mountpoint.
    """
    if sheet is None and (classes, images) != (None, None):
        raise UsageError("--classes and --images are for --sheet FILE.")
    root, wanted = _sorted_out(what, source)
    from imagenetfs.library.opened import OpenedSource
    from imagenetfs.library.settings import spec_of

    settings = _settings(context, root)
    opened = OpenedSource(spec_of(settings))
    try:
        for warning in opened.spec.warnings:
            say(f"warning: {warning}")
        if sheet is not None:
            request = SheetRequest(sheet, classes, images, seed)
            write_sheet(opened, wanted, request)
        else:
            _show(opened, wanted, as_json=as_json)
    finally:
        opened.close()


def _show(opened: OpenedSource, wanted: str, *, as_json: bool) -> None:
    from imagenetfs.library.describe import Describer
    from imagenetfs.library.find import TreeSearch

    finder = TreeSearch(opened)
    places = finder.find(wanted)
    describer = Describer(opened, finder)
    if as_json:
        show_json([describer.describe(place) for place in places])
        return
    if len(places) > 1 and places[0].kind == "class":
        say(f"{len(places):,} classes are meant by `{wanted}`; name one by its WordNet id:")
        rows = [(p.title, describer.in_short(p.wnid)) for p in places[:_MOST_SHOWN]]
        fields(rows)
        if len(places) > _MOST_SHOWN:
            say(f"and {len(places) - _MOST_SHOWN:,} more: --json has them all.")
        return
    for place in places:
        fields(lines_of(describer.describe(place)))


# --- which source ---------------------------------------------------------------------------------


def _sorted_out(what: list[str], source: str | None) -> tuple[str | None, str]:
    """(SOURCE where one is given, what is to be shown): a path in a mount is both."""
    if len(what) > 2:
        raise UsageError(
            "show takes SOURCE and WHAT, or WHAT alone; quote a name of several words."
        )
    if len(what) == 2:
        return what[0], what[1]
    [only] = what
    if not only.startswith(("/", "./", "../", "~")) or source is not None:
        return None, only
    path = mounts.resolve(Path(only).expanduser())
    entry = next((e for e in map(mounts.find_mount, (path, *path.parents)) if e is not None), None)
    if entry is not None and entry.is_ours and str(path) != entry.mountpoint:
        return entry.mountpoint, os.path.relpath(path, entry.mountpoint)
    if path.is_dir():
        raise UsageError(
            f"What of {only} shall be shown? For example: imagenetfs show {only} 'kit fox'. "
            f"`imagenetfs info {only}` lists its versions."
        )
    raise UsageError(f"{only} is in no mount of imagenetfs: name the source, and the path in it.")


def _settings(context: typer.Context, root: str | None) -> Settings:
    """The settings; where the source is a mountpoint, of that mount: its source and views."""
    entry = None
    if root is not None:
        entry = mounts.find_mount(mounts.resolve(Path(root).expanduser()))
    settings = options.settings_of(context, None if entry and entry.is_ours else root)
    if entry is None and settings.source is None:
        entry = _mount_here()
    if entry is None or not entry.is_ours:
        return settings
    if preflight.health(entry) is preflight.Health.DEAD:
        raise UsageError(
            f"The mount at {entry.mountpoint} is dead: name the source instead, or take it away by "
            f"`imagenetfs umount {entry.mountpoint}`."
        )
    weaker = _of_mount(entry, settings)
    return options.settings_of(context, source_of(entry), weaker)


def _mount_here() -> mounts.MountEntry | None:
    """The mount that the current directory is in, else the only mount of this user."""
    here = Path.cwd()
    for path in (here, *here.parents):
        entry = mounts.find_mount(path)
        if entry is not None and entry.is_ours:
            return entry
    own = mounts.our_mounts(uid=os.geteuid())
    return own[0] if len(own) == 1 else None


def _of_mount(entry: mounts.MountEntry, settings: Settings) -> dict[str, Any]:
    """What a mount shows differently from others, as far as its server tells."""
    client = MountClient.visit(find_paths(Path(entry.mountpoint), settings))
    if client is None:
        return {}
    try:
        return {k: client.identity.settings.get(k) or None for k in ("prefer", "view")}
    finally:
        client.close()
