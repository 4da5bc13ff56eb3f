"""A guard against an end that does not come.

Memory without swap that is full of what cannot be dropped leaves little for the programs' own code, which the
kernel then reads from the disk, drops, and reads again. It counts that as progress and can go on so for
minutes before its OOM killer ends it. This guard ends it after seconds, by the OOM killer too.
"""

import os
import select

from aetherium.guest.cgroups import Cgroup, number, read
from aetherium.guest.loop import Loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Looked at once a second while a limit is hit; so many looks in a row that find the same are enough.
LOOK_S = 1.0
LOOKS = 4
# Out of a hundred parts of the limit, that which cannot be dropped; and pages of code read again in a second.
FULL_PERCENT = 90
AGAIN = 16


class Guard:
    """Watches over the groups of executions below `parent`; `running` gives those that have one now."""

    def __init__(self, loop: Loop, parent: str, running: "Callable[[], Iterator[Cgroup]]") -> None:
        self._loop = loop
        self._parent = parent
        self._running = running
        self._found: dict[str, tuple[int, int]] = {}  # path: pages read again so far, and looks in a row
        self._events = os.open(f"{parent}/memory.events", os.O_RDONLY | os.O_CLOEXEC)
        self._wait()

    def _wait(self) -> None:
        """Sleep until a limit is hit."""
        os.pread(self._events, 4096, 0)  # the kernel tells of changes since the last read
        self._loop.watch(self._events, select.EPOLLPRI, self._changed)

    def _changed(self, _events: int) -> None:
        self._loop.unwatch(self._events)  # there are a hundred of them a second
        self._found = {}
        self._look()

    def _look(self) -> None:
        groups = list(self._running())
        found = {}
        for path, limit in self._limited(groups):
            found[path] = self._judge(path, limit)
            if found[path][1] >= LOOKS:
                self._end(path, groups)
        self._found = found
        stuck = any(looks for _, looks in found.values())
        self._loop.later(LOOK_S, self._look if stuck else self._wait)

    def _limited(self, groups: "list[Cgroup]") -> "Iterator[tuple[str, int]]":
        """Groups with a limit of their own, which for all others is that of the group around them."""
        for path in (self._parent, *(group.path for group in groups)):
            limit = read(f"{path}/memory.max").strip()
            if limit.isdigit():
                yield path, int(limit)

    def _judge(self, path: str, limit: int) -> "tuple[int, int]":
        """Pages read again so far, and in how many looks in a row the group was found to be stuck."""
        facts = read(f"{path}/memory.stat")
        again = number(facts, "workingset_refault_file")
        if number(facts, "anon") * 100 < limit * FULL_PERCENT:
            return again, 0
        if path not in self._found:
            return again, 1
        before, looks = self._found[path]
        return again, looks + 1 if again - before >= AGAIN else 1

    def _end(self, path: str, groups: "list[Cgroup]") -> None:
        """The largest of those that share the limit goes."""
        sharing = groups if path == self._parent else [group for group in groups if group.path == path]
        if sharing:
            max(sharing, key=Cgroup.memory).starve()
