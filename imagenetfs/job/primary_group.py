"""A source that refuses: the sentence that helps, and the way in under another primary group.

The primary group is always told to the server. ``sg`` (shadow) makes any group primary whose member
the user is; it is setuid, so it must come before any user namespace, and it may ask for a password:
it is tried first without a terminal and within a time.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from imagenetfs import config
from imagenetfs.errors import GroupNeededError, SourceUnreadableError
from imagenetfs.job.nfs_access import (
    SENT,
    DenialReason,
    DeniedPath,
    User,
    explain,
    find_denied_path,
    group_name,
    parse_denied_path,
    user_name,
)
from imagenetfs.system.mounts import MountEntry
from imagenetfs.system.patience import ask

LOOK_SECONDS = 20.0
SG_SECONDS = 10.0
UNDER_VARIABLE = "_IMAGENETFS_USUAL_GROUP"
"""Set in a process that was started again under a group, to the one that it had: a second
time would not help either.
"""

_usual_groups: list[str] = []
"""The user's primary group outside, where sg started this process; else nothing."""

_PR_SET_PDEATHSIG = 1


# --- sentences ------------------------------------------------------------------------------------


def refusal(source: Path) -> SourceUnreadableError | None:
    """The error that says why this user may not read the source, or None
    where all of it may be read.

    Raises OSError and NoAnswerError as the source does.
    """
    described = ask(lambda: find_denied_path(source), LOOK_SECONDS)
    return None if described is None else _refusal_at(parse_denied_path(described), User.here())


def _refusal_at(denied: DeniedPath, user: User) -> SourceUnreadableError:
    reason, group = explain(denied, user)
    name = group_name(group) if group is not None else ""
    if reason is DenialReason.HIDDEN_GROUP:
        return GroupNeededError(
            f"{denied.path} is open to the group {name}, and you are a member; but NFSv3 tells the "
            f"server only your primary group and {SENT} of your {len(user.groups)} others, and "
            "this is none of them.",
            name,
        )
    if reason is DenialReason.NOT_A_MEMBER:
        why = f"it is open to the group {name}, of which you are no member"
        page = config.resolve().opt_in_page
        help = (
            f"Ask {f'at {page}' if page else 'its owner or your site'} for access, then log in "
            "anew; if that does not help,"
        )
    elif reason is DenialReason.ACCESS_LIST:
        why = "its access list decides that (getfacl, nfs4_getfacl), and not its group"
        help = "Another primary group (sg) does not help; if you should have access,"
    elif reason is DenialReason.MODE and denied.uid == user.uid:
        return SourceUnreadableError(
            f"{denied.path} may not be read by you: its mode ({denied.mode_letters}) closes it, "
            f"to you who own it too. Open it: chmod u+{denied.wanted_letters} "
            f"{shlex.quote(denied.path)}"
        )
    elif reason is DenialReason.MODE:
        why = (
            f"its mode ({denied.mode_letters}) closes it to you; it belongs to "
            f"{user_name(denied.uid)}"
        )
        help = f"Ask {user_name(denied.uid)} to open it (chmod +{denied.wanted_letters}), or"
    else:
        why = (
            "its mode would let you in, so the server has a rule of its own (its export, an "
            "access list)"
        )
        help = "If you should have access,"
    return SourceUnreadableError(
        f"{denied.path} may not be read by you: {why}. {help} {support()}."
    )


def support() -> str:
    """Whom to write to, as part of a sentence."""
    settings = config.resolve()
    if settings.support_address is None:
        return "write to your cluster's support"
    return f"write to {settings.support_address} (subject: {settings.support_subject})"


def support_for(path: Path) -> str:
    """As :func:`support`; nothing for a directory of the user's own, who alone can mend it."""
    with contextlib.suppress(OSError):
        if path.stat().st_uid == os.getuid():
            return ""
    return support()


# --- under another group --------------------------------------------------------------------------


def reexec_under_group(
    need: GroupNeededError, arguments: Sequence[str], say: Callable[[str], None], *, is_again: bool
) -> NoReturn:
    """Start ``imagenetfs ARGUMENTS`` again in the place of this process, under
    the group that is needed.

    Raises SourceUnreadableError that says what to type where that cannot be done. ``is_again``:
    this process was started so itself.
    """
    typed = shlex.join(["sg", need.group, "-c", shlex.join(["imagenetfs", *arguments])])
    if is_again:
        raise SourceUnreadableError(
            f"{need} With that one as your primary group it is refused all the same; {support()}."
        )
    sg = shutil.which("sg")
    if sg is None:
        raise SourceUnreadableError(
            f"{need} There is no sg on this node; where there is one: {typed}"
        )
    obstacle = _obstacle(sg, need.group)
    if obstacle is not None:
        raise SourceUnreadableError(f"{need} Type it yourself, for {obstacle}: {typed}")
    say(f"{need} Starting again with that one as the primary group (sg {need.group}).")
    command = [sys.executable, "-P", "-m", "imagenetfs", *arguments]
    environ = {**os.environ, UNDER_VARIABLE: group_name(os.getgid())}
    os.execve(sg, ["sg", need.group, "-c", f"exec {shlex.join(command)}"], environ)


def _obstacle(sg: str, group: str) -> str | None:
    """Why sg would not do it without a person, as part of a sentence; None where it does."""
    try:
        done = subprocess.run(
            [sg, group, "-c", "id -g"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=SG_SECONDS,
            start_new_session=True,  # no terminal: it asks for a password there
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"sg did not come back within {SG_SECONDS:.0f} s"
    except OSError as error:
        return f"sg could not be started ({error.strerror})"
    if done.returncode != 0 or not done.stdout.strip().isdigit():
        said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        return f"sg asks for more than it can be given here ({said})"
    return None


def consume_reexec_marker() -> bool:
    """Whether sg started this process for :func:`start_again`. It then ends when sg is ended: sg
    stays in between and passes no signal on.
    """
    usual = os.environ.pop(UNDER_VARIABLE, None)
    _usual_groups.clear()
    if usual is None:
        return False
    _usual_groups.append(usual)
    with contextlib.suppress(OSError):
        parent = Path(f"/proc/{os.getppid()}/comm").read_text().strip()
        if parent in ("sg", "newgrp"):
            ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    return True


def usual_group() -> str | None:
    """The user's primary group outside, where this process was started again under another one."""
    return _usual_groups[-1] if _usual_groups else None


def check_mount(entry: MountEntry) -> None:
    """Raise GroupNeededError where a mount shows itself only to another primary
    group than this process has.
    """
    if entry.group_id is None or entry.user_id != os.geteuid() or entry.group_id == os.getegid():
        return
    name = group_name(entry.group_id)
    raise GroupNeededError(
        f"The mount at {entry.mountpoint} was made under the group {name}, and "
        "is shown to no other.",
        name,
    )
