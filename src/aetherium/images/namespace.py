"""Work that needs root's rights over files, without root: in a user namespace with the caller's subuids."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from aetherium.domain.errors import Unavailable
from aetherium.process import run


def as_owner(argv: Sequence[str]) -> list[str]:
    """`argv` so that it may make and remove files of any owner.

    Root as it is; others become root of a user namespace in which their ranges of /etc/subuid and
    /etc/subgid are mapped (util-linux ``unshare --map-auto``).
    """
    if os.geteuid() == 0:
        return [*argv]
    return ["unshare", "--user", "--map-auto", "--map-root-user", "--", *argv]


async def check_namespace() -> None:
    """Raise Unavailable, with what to do, unless `as_owner` works here."""
    if os.geteuid() == 0:
        return
    done = await run(as_owner(["true"]), check=False)
    if done.exit_code:
        raise Unavailable(
            f"A user namespace with mapped ids cannot be made: {done.stderr.decode(errors='replace').strip()}",
            hint="Install uidmap, and give the user a range in /etc/subuid and /etc/subgid "
            "(usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER).",
        )


async def remove_tree(path: Path) -> None:
    """Remove a directory with everything in it, whoever owns it; it may be gone already."""

    def plainly() -> bool:
        try:
            shutil.rmtree(path)
        except FileNotFoundError:
            return True
        except PermissionError:
            return False
        return True

    if not await asyncio.to_thread(plainly):
        await run(as_owner(["rm", "-rf", "--", str(path)]), timeout_s=600)
