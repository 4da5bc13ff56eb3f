"""The guard against thrashing, over files as the kernel has them and a loop that is turned by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from aetherium.guest.cgroups import Cgroup
from aetherium.guest.loop import Loop, Timer
from aetherium.guest.pressure import LOOKS, Guard

LIMIT = 1000


class HandLoop(Loop):
    """Keeps what it is given; the test calls it."""

    def __init__(self) -> None:
        super().__init__()
        self.handler: Callable[[int], None] | None = None
        self.next: Callable[[], None] | None = None

    def watch(self, fd: int, mask: int, handler: Callable[[int], None]) -> None:
        self.handler = handler

    def unwatch(self, fd: int) -> None:
        self.handler = None

    def later(self, seconds: float, action: Callable[[], None]) -> Timer:
        self.next = action
        return Timer(0.0, action)

    def turn(self) -> None:
        """The timer runs out."""
        action, self.next = self.next, None
        assert action is not None
        action()


class Group(Cgroup):
    """A group in a directory of the test's."""

    def __init__(self, path: Path, limit: str, used: int) -> None:
        path.mkdir(exist_ok=True)
        self.path = str(path)
        self._starved = False
        self._kept = ()
        self.file("memory.events", "max 1\n")
        self.file("memory.max", limit)
        self.file("memory.current", str(used))
        self.stat(used, 0)

    def file(self, name: str, text: str) -> None:
        Path(self.path, name).write_text(text)

    def stat(self, anon: int, again: int) -> None:
        self.file("memory.stat", f"anon {anon}\nfile 1\nworkingset_refault_file {again}\n")

    def ended(self) -> bool:
        """Whether its limit was taken away."""
        # The kernel takes a value as a whole; in a file of ours the rest of the old one stays.
        return Path(self.path, "memory.max").read_text().startswith("0")


@pytest.fixture
def around(tmp_path: Path) -> Group:
    return Group(tmp_path, str(LIMIT), LIMIT)


def look(loop: HandLoop, group: Group, times: int, *, anon: int, again: int) -> None:
    """The limit is hit, and then so many looks, with so many pages read again between two."""
    assert loop.handler is not None
    group.stat(anon, 0)
    loop.handler(0)
    for number in range(1, times):
        group.stat(anon, number * again)
        loop.turn()


def test_the_largest_ends_when_nothing_moves(around: Group, tmp_path: Path) -> None:
    loop = HandLoop()
    small, large = Group(tmp_path / "a", "max", 10), Group(tmp_path / "b", "max", 900)
    Guard(loop, around.path, lambda: iter((small, large)))
    look(loop, around, LOOKS - 1, anon=LIMIT, again=500)
    assert not large.ended()
    around.stat(LIMIT, LOOKS * 500)
    loop.turn()
    assert large.ended()
    assert not small.ended()
    assert not around.ended()
    assert not large.clean, "its limit is gone: nobody may have it after this"


def test_a_group_with_a_limit_of_its_own_ends_alone(around: Group, tmp_path: Path) -> None:
    loop = HandLoop()
    around.stat(0, 0)
    limited, other = Group(tmp_path / "a", "100", 100), Group(tmp_path / "b", "max", 900)
    Guard(loop, around.path, lambda: iter((limited, other)))
    look(loop, limited, LOOKS, anon=100, again=500)
    assert limited.ended()
    assert not other.ended()


@pytest.mark.parametrize(("anon", "again"), [(LIMIT // 2, 500), (LIMIT, 0)])
def test_who_reads_files_or_only_uses_memory_goes_on(
    around: Group, tmp_path: Path, anon: int, again: int
) -> None:
    loop = HandLoop()
    group = Group(tmp_path / "a", "max", 900)
    Guard(loop, around.path, lambda: iter((group,)))
    look(loop, around, 1, anon=anon, again=again)
    for number in range(3 * LOOKS):
        around.stat(anon, number * again)
        if loop.handler is None:
            loop.turn()
    assert not group.ended()
