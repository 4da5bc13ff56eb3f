"""Programs that need root's rights over files, without root, and that never outlive who started them."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from aetherium.domain.errors import Unavailable
from aetherium.process import run

_REMOVE_TRIES = 5


def as_owner(argv: Sequence[str]) -> list[str]:
    """`argv` so that it may make and remove files of any owner.

    Root as it is; others become root of a user namespace in which their ranges of /etc/subuid and
    /etc/subgid are mapped (util-linux ``unshare --map-auto``).
    """
    if os.geteuid() == 0:
        return [*argv]
    return ["unshare", "--user", "--map-auto", "--map-root-user", "--", *argv]


def contained(argv: Sequence[str], *, mount_proc: bool = False) -> list[str]:
    """`argv` as `as_owner`, and killed with all its children when the calling process dies, however it dies.

    A process namespace holds whatever it starts; its first process gets SIGKILL from the kernel when the
    parent dies, and with that process the namespace ends. The order matters: becoming root of a user
    namespace would clear the wish for the parent's death signal.
    """
    proc = ["--mount-proc"] if mount_proc else []
    inner = ["unshare", "--pid", "--fork", "--kill-child=KILL", *proc, "--", *argv]
    return as_owner(["setpriv", "--pdeathsig", "KILL", "--", *inner])


async def check_namespace() -> None:
    """Raise Unavailable, with what to do, unless `contained` works here."""
    done = await run(contained(["true"]), check=False)
    if not done.exit_code:
        return
    reason = done.stderr.decode(errors="replace").strip()
    if os.geteuid() == 0:
        raise Unavailable(
            f"A process namespace cannot be made: {reason}",
            hint="Inside a container, give it the capability SYS_ADMIN, or build images outside.",
        )
    raise Unavailable(
        f"A user namespace with mapped ids cannot be made: {reason}",
        hint="Install uidmap, and give the user a range in /etc/subuid and /etc/subgid "
        "(usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER).",
    )


async def remove_tree(path: Path) -> None:
    """Remove a directory with everything in it, whoever owns it; it may be gone already."""

    def plainly() -> bool:
        try:
            shutil.rmtree(path)
        except FileNotFoundError:
            return not path.exists()
        except OSError:
            return False  # Somebody else's files, or a program that is just dying still writes.
        return True

    for last in (False,) * (_REMOVE_TRIES - 1) + (True,):
        if await asyncio.to_thread(plainly):
            return
        done = await run(as_owner(["rm", "-rf", "--", str(path)]), timeout_s=600, check=last)
        if done.exit_code == 0:
            return
