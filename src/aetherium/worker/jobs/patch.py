"""All changes that a job has made, as a patch.

The patch is made in the guest, by the git of the agent drive, in a repository of its own beside the job's:
what the job does to its ``.git``, even deleting it, changes nothing. That repository shares the commit's
objects by hard links, and takes nothing from the job's configuration. No git of the host ever reads what the
guest has made.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from aetherium.domain.errors import GuestError, LimitExceeded
from aetherium.domain.executions import ExecutionSpec
from aetherium.domain.ids import EXECUTION, new_id
from aetherium.domain.jobs import PatchSummary
from aetherium.interfaces.guest import Guest

CHANGES, DELTA = "changes.patch", "delta.patch"
# Hashing a large tree under emulation takes minutes.
TIMEOUT_S = 1800.0
_BUSYBOX = "/.aetherium/bin/busybox"
_OUTPUT_CAP = 1 << 20

# $1: the private repository, $2: the work tree, $3: the user that owns it, $4: the commit, $5: "tree" to
# record what was delivered. $BB: busybox, or nothing where the guest's own tools serve.
_PREPARE = """
set -e
export GIT_DIR="$1"
if [ -n "$3" ]; then $BB chown "$3" "$2"; fi
git init -q --bare --template= "$1"
$BB mkdir -p "$1/info"
if [ -n "$4" ]; then
    $BB cp -rl "$2/.git/objects/." "$1/objects" || $BB cp -r "$2/.git/objects/." "$1/objects"
fi
cd "$2"
export GIT_WORK_TREE="$2"
if [ "$5" = tree ]; then
    if [ -n "$4" ]; then git read-tree "$4"; fi
    git add -A -f --ignore-errors . >&2 || echo incomplete
    git write-tree
fi
"""
_DIFF = (
    "git diff --binary --full-index --no-renames --no-color --no-ext-diff --no-textconv"
    " --ignore-submodules=all --src-prefix=a/ --dst-prefix=b/"
)
# $1, $2, $4 as above, $5: the tree that was delivered, if it differs from the commit.
_FINISH = f"""
set -e
export GIT_DIR="$1" GIT_WORK_TREE="$2"
cd "$2"
[ -f "$1/index" ] || git read-tree "$4"
git add -A --ignore-errors . >&2 || echo incomplete
tree=$(git write-tree)
base=${{4:-$5}}
{_DIFF} --output="$1/{CHANGES}" "$base" "$tree"
git diff --shortstat --no-renames --ignore-submodules=all "$base" "$tree"
if [ -n "$4" ] && [ -n "$5" ]; then {_DIFF} --output="$1/{DELTA}" "$5" "$tree"; fi
"""
_STAT = re.compile(rb"(\d+) files? changed(?:, (\d+) insertion)?(?:[^,]*, )?(?:(\d+) deletion)?")
_OPTIONS = {"core.hooksPath": "/dev/null", "gc.auto": "0", "core.looseCompression": "0"}


@dataclass(frozen=True, slots=True)
class PatchResult:
    """`summary` is None when nothing was changed, or when there is no patch for the reason in `warnings`."""

    summary: PatchSummary | None
    warnings: tuple[str, ...] = ()


class Patches:
    """The patch of one job.

    Args:
        private: a directory of the guest for the repository; made here, for root only.
        commit: that was checked out; empty: none.
    """

    def __init__(self, guest: Guest, workdir: str, private: str, commit: str) -> None:
        self._guest = guest
        self._workdir = workdir
        self._private = private
        self._commit = commit
        self._delivered = ""

    async def prepare(self, *, clean: bool, user: str | None) -> tuple[str, ...]:
        """Before the first step: keep what the patch will be against. Warnings.

        Args:
            clean: the tree is that of the commit.
            user: who the work tree belongs to.
        """
        await self._guest.mkdir(self._private, mode=0o700)
        tree = "" if clean and self._commit else "tree"
        said = await self._run(_PREPARE, user or "", self._commit, tree)
        lines = said.decode().split()
        if tree:
            self._delivered = lines[-1]
        return ("Some files cannot be read in the guest; their changes will not be seen.",) * (
            "incomplete" in lines
        )

    async def finish(self, directory: Path, limit: int) -> PatchResult:
        """After the last step: write the patches into the job's `directory`. Raises LimitExceeded for more
        than `limit` bytes, GuestError when git fails in the guest."""
        said = await self._run(_FINISH, "", self._commit, self._delivered)
        warnings = ("Some files could not be read; the patch is without them.",) * (b"incomplete" in said)
        size = await self._fetch(CHANGES, directory, limit)
        if not size:
            return PatchResult(None, warnings)
        delta = 0
        if self._commit and self._delivered:
            delta = await self._fetch(DELTA, directory, limit)
        files, insertions, deletions = _counts(said)
        return PatchResult(
            PatchSummary(
                self._commit, CHANGES, files, insertions, deletions, size, delta=DELTA if delta else ""
            ),
            warnings,
        )

    async def discard(self) -> None:
        """Remove the private repository, where the guest's files outlive it."""
        await self._guest.remove(self._private, recursive=True)

    async def _run(self, script: str, user: str, commit: str, tree: str) -> bytes:
        shell, busybox = await self._shell()
        spec = ExecutionSpec(
            argv=(*shell, "-c", script, "patch", self._private, self._workdir, user, commit, tree),
            env={**_environment(), "BB": busybox},
            cwd="/",
            timeout_s=TIMEOUT_S,
        )
        result, out, err = await self._guest.run(new_id(EXECUTION), spec, output_cap=_OUTPUT_CAP)
        if not result.ok:
            said = err.decode(errors="replace").strip().splitlines()
            reason = said[-1][:500] if said else result.error or f"{result.state} {result.shell_code}"
            raise GuestError(f"The changes cannot be told: {reason}.")
        return out

    async def _shell(self) -> tuple[tuple[str, ...], str]:
        try:
            await self._guest.stat(_BUSYBOX)
        except GuestError:  # a guest without an agent drive: a process of a test
            return ("/bin/sh",), ""
        return (_BUSYBOX, "sh"), _BUSYBOX

    async def _fetch(self, name: str, directory: Path, limit: int) -> int:
        """Bring a patch file; its size. Nothing is left of one that is empty or too large."""
        part, total = directory / f"{name}.part", 0
        try:
            with await asyncio.to_thread(part.open, "wb") as file:
                async for piece in self._guest.read(f"{self._private}/{name}"):
                    total += len(piece)
                    if total > limit:
                        raise LimitExceeded(
                            f"The patch has more than {limit >> 20} MiB.",
                            hint="Does .gitignore miss something? The setting patch_mib is the limit.",
                            limit=limit,
                        )
                    await asyncio.to_thread(file.write, piece)
            if total:
                await asyncio.to_thread(part.replace, directory / name)
        finally:
            await asyncio.to_thread(part.unlink, missing_ok=True)
        return total


def _environment() -> Mapping[str, str]:
    options = tuple(_OPTIONS.items())
    return {
        "PATH": "/.aetherium/bin:/usr/local/bin:/usr/bin:/bin",
        "HOME": "/nonexistent",
        "LC_ALL": "C",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_CONFIG_COUNT": str(len(options)),
        **{f"GIT_CONFIG_KEY_{at}": key for at, (key, _) in enumerate(options)},
        **{f"GIT_CONFIG_VALUE_{at}": value for at, (_, value) in enumerate(options)},
    }


def _counts(said: bytes) -> tuple[int, int, int]:
    """Files, insertions, deletions, as the guest says."""
    match = _STAT.search(said)
    if match is None:
        return 0, 0, 0
    files, insertions, deletions = (min(int(group or 0), 1 << 40) for group in match.groups())
    return files, insertions, deletions
