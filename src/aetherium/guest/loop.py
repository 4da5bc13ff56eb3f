"""The agent's event loop: epoll, timers, and generators that share the processor in turns.

asyncio would cost more to import than the whole agent.
"""

import select
import sys
from _heapq import heappop, heappush
from time import monotonic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

READ = select.EPOLLIN
WRITE = select.EPOLLOUT
EDGE = select.EPOLLET
GONE = select.EPOLLHUP | select.EPOLLERR


class Timer:
    """A call in the future; cancelled by `cancel`."""

    __slots__ = ("action", "when")

    def __init__(self, when: float, action: "Callable[[], None]") -> None:
        self.when = when
        self.action: Callable[[], None] | None = action

    def __lt__(self, other: "Timer") -> bool:
        return self.when < other.when

    def cancel(self) -> None:
        """Do not call."""
        self.action = None


class Loop:
    """Runs handlers of descriptors, timers and jobs until `stop`.

    Attributes:
        after_turn: called at the end of each turn: where connections write what was collected.
    """

    def __init__(self) -> None:
        self._poll = select.epoll()
        self._handlers: dict[int, Callable[[int], None]] = {}
        self._timers: list[Timer] = []
        self._jobs: list[Iterator[None]] = []
        self._running = True
        self.after_turn: Callable[[], bool] = lambda: False

    def watch(self, fd: int, mask: int, handler: "Callable[[int], None]") -> None:
        """Call `handler(events)` whenever `fd` is ready for `mask`."""
        if fd in self._handlers:
            self._poll.modify(fd, mask)
        else:
            self._poll.register(fd, mask)
        self._handlers[fd] = handler

    def unwatch(self, fd: int) -> None:
        """Forget `fd`; to be called before it is closed."""
        if self._handlers.pop(fd, None) is not None:
            self._poll.unregister(fd)

    def later(self, seconds: float, action: "Callable[[], None]") -> Timer:
        """Call `action` once, after so many seconds."""
        timer = Timer(monotonic() + seconds, action)
        heappush(self._timers, timer)
        return timer

    def job(self, steps: "Iterator[None]") -> None:
        """Work done in steps, one in each turn, so that long work holds up nobody."""
        self._jobs.append(steps)

    def stop(self) -> None:
        """End `run` after this turn."""
        self._running = False

    def run(self) -> None:
        """Run until stopped."""
        busy = False
        while self._running:
            for fd, events in self._poll.poll(self._wait(busy)):
                handler = self._handlers.get(fd)
                if handler is not None and not self._survives(handler, events):
                    self.unwatch(fd)
            self._run_timers()
            jobs, self._jobs = self._jobs, []
            self._jobs += [steps for steps in jobs if self._survives(next, steps)]
            busy = self.after_turn()

    def _survives(self, action: "Callable[..., Any]", argument: "Any") -> bool:
        """Call; False when it failed or had come to its end. The agent may be process 1: it must not die."""
        try:
            action(argument)
        except StopIteration:
            return False
        except Exception as error:
            sys.stderr.write(f"aetherium: {error!r}\n")
            return False
        return True

    def _wait(self, busy: bool) -> float:
        if busy or self._jobs:
            return 0.0
        while self._timers and self._timers[0].action is None:
            heappop(self._timers)
        if not self._timers:
            return -1.0
        # epoll counts in whole milliseconds: round up, or the loop spins through the last one.
        return max(0.0, self._timers[0].when - monotonic()) + 0.001

    def _run_timers(self) -> None:
        now = monotonic()
        while self._timers and self._timers[0].when <= now:
            action = heappop(self._timers).action
            if action is not None:
                self._survives(lambda call: call(), action)
