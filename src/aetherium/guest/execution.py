"""One command: its process, its output, its limits, its end."""

import os
from errno import ESRCH
from time import monotonic

from aetherium.guest.loop import Loop, Timer
from aetherium.guest.output import Budget, Output
from aetherium.guest.stdin import Stdin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from resource import struct_rusage
    from typing import Any

    from aetherium.guest.attachment import Attachment
    from aetherium.guest.cgroups import Cgroup, Groups
    from aetherium.guest.launch import Launched

SIGKILL = 9
SIGTERM = 15
GRACE_S = 2.0
# How long an ended command's output may stay open before it counts as ended: helpers such as `tee` at the end
# of a pipeline finish within it, and a server left in the background does not hold it up.
STRAGGLER_S = 0.1
# After its connection was lost, a client's place is kept this long: the writer waits and nothing is dropped.
LINGER_S = 10.0
MAX_ERROR = 1000


class Execution:
    """A command that runs or has run; see domain/executions.py for its states."""

    def __init__(self, loop: Loop, name: str, budget: Budget, output_limit: int) -> None:
        self._loop = loop
        self._budget = budget
        self._limit = output_limit
        self._began = monotonic()
        self._timers: list[Timer] = []
        self._stopped_as = ""
        self._reaped = False
        self._straggling = False
        self._vacant = False
        self.cgroup: Cgroup | None = None
        self.id = name
        self.pid = 0
        self.terminal = -1
        self.outputs: list[Output] = []
        self.stdin = Stdin(loop, -1)
        self.attachments: list[Attachment] = []
        self.result: dict[str, Any] | None = None

    # -- begin

    def began(self, launched: "Launched", timeout: float | None) -> None:
        """The process runs."""
        self.pid = launched.pid
        self.cgroup = launched.cgroup
        self.terminal = launched.terminal
        self.stdin = Stdin(self._loop, launched.stdin, terminal=launched.terminal >= 0)
        self.outputs = [self._output(0, launched.stdout), self._output(1, launched.stderr)]
        if timeout is not None:
            self._timers.append(self._loop.later(timeout, self._time_out))

    def failed(self, error: OSError) -> None:
        """It could not be started."""
        from errno import errorcode

        where = f": {error.filename!r}" if error.filename else ""
        self.result = self._describe("failed") | {
            "error": f"{error.strerror or error}{where}"[:MAX_ERROR],
            "errno": errorcode.get(error.errno or 0, ""),
        }

    def _output(self, channel: int, fd: int) -> Output:
        return Output(
            self._loop, fd, self._limit, self._budget, lambda: self._held(channel), self._output_changed
        )

    def _held(self, channel: int) -> int | None:
        return min((each.consumed[channel] for each in self.attachments), default=None)

    # -- followers

    def follow(self, attachment: "Attachment") -> None:
        """Somebody follows the output. If they were cut off before, their old place is given up."""
        self.attachments = [
            each for each in self.attachments if each.connected or each.writer != attachment.writer
        ]
        self.attachments.append(attachment)
        self.resume()

    def unfollow(self, attachment: "Attachment") -> None:
        """They do not any more."""
        if attachment in self.attachments:
            self.attachments.remove(attachment)
            self.resume()

    def linger(self, attachment: "Attachment") -> None:
        """Their connection was lost: keep their place for a while."""
        self._loop.later(LINGER_S, lambda: self.unfollow(attachment))

    def resume(self) -> None:
        """Room may have been made: read on."""
        for output in self.outputs:
            output.resume()
        if self._reaped and self.result is None:
            self._finish()

    def _output_changed(self) -> None:
        for attachment in self.attachments:
            attachment.stream.wake()
        if self._reaped and self.result is None and all(output.done for output in self.outputs):
            self._end()

    # -- control

    def signal(self, number: int) -> None:
        """Signal the process group. Raises OSError: ESRCH when it has ended."""
        if self._reaped or not self.pid:
            raise OSError(ESRCH, "the execution has ended")
        os.killpg(self.pid, number)

    def kill(self) -> None:
        """SIGKILL all that it has started."""
        if self.result is None and not self._stopped_as:
            self._stopped_as = "cancelled"
        self._kill_all()

    def _time_out(self) -> None:
        if self._reaped:
            return
        self._stopped_as = self._stopped_as or "timed_out"
        try:
            self.signal(SIGTERM)
        except OSError:
            self._kill_all()  # it has changed who it is, or left its group
        self._timers.append(self._loop.later(GRACE_S, self._kill_all))

    def _kill_all(self) -> None:
        if self.cgroup is not None:
            self.cgroup.kill()
        elif self.pid and not self._vacant:
            from aetherium.guest.sessions import kill_session

            kill_session(self.pid, reaped=self._reaped)

    def resize(self, rows: int, columns: int) -> None:
        """Change the size of the terminal; the kernel tells the process (SIGWINCH)."""
        from aetherium.guest.launch import set_size

        if self.terminal < 0 or self.outputs[0].done:
            raise OSError(25, "the execution has no terminal")
        set_size(self.terminal, rows, columns)

    # -- end

    def reaped(self, status: int, usage: "struct_rusage") -> None:
        """The first process has ended; what it wrote may still be in the pipes."""
        self._reaped = True
        self._status = status
        self._usage = usage
        self._duration = monotonic() - self._began
        for timer in self._timers:
            timer.cancel()
        self._oom = status != 0 and self.cgroup is not None and self.cgroup.oom_kills() > 0
        if self._stopped_as:
            self._kill_all()
        self.stdin.close()
        self._finish()

    def _finish(self) -> None:
        """End once all was read that it wrote. Followers who do not read hold this up, and nobody else."""
        drained = [output.drain() for output in self.outputs]
        if self.result is not None or not all(drained):
            return
        if all(output.done for output in self.outputs):
            self._end()
        elif not self._straggling:
            self._straggling = True
            self._timers.append(self._loop.later(STRAGGLER_S, self._end))

    def _end(self) -> None:
        if self.result is not None:
            return
        code = os.waitstatus_to_exitcode(self._status)
        state = self._stopped_as or ("exited" if code >= 0 else "signaled")
        result = self._describe(state)
        # A command may end well although it was told to stop: its own code is still worth telling.
        result["code"] = code if code >= 0 else None
        result["signal"] = -code if code < 0 else None
        result["oom"] = self._oom
        result["duration"] = self._duration
        result["user"] = self._usage.ru_utime
        result["system"] = self._usage.ru_stime
        result["rss"] = self._usage.ru_maxrss
        self.result = result
        for output in self.outputs:
            output.discard()
        for attachment in self.attachments:
            attachment.stream.wake()

    def _describe(self, state: str) -> "dict[str, Any]":
        sizes = [output.end for output in self.outputs] or [0, 0]
        return {
            "state": state, "code": None, "signal": None, "oom": False, "duration": 0.0,
            "stdout": sizes[0], "stderr": sizes[1], "user": 0.0, "system": 0.0, "rss": 0,
            "error": "", "errno": "",
        }  # fmt: skip

    def status(self) -> "dict[str, Any]":
        """As it is now."""
        sizes = [output.end for output in self.outputs] or [0, 0]
        state = self.result["state"] if self.result else "running"
        return {
            "id": self.id, "state": state, "pid": self.pid or None, "stdout": sizes[0], "stderr": sizes[1],
        }  # fmt: skip

    def forget(self) -> None:
        """Drop what was kept."""
        if self._reaped:
            self._end()
        for output in self.outputs:
            output.forget()
        self.stdin.close()

    def shed(self) -> None:
        """Memory is short: drop kept output, keep the result."""
        for output in self.outputs:
            output.shed()

    def vacate(self, groups: "Groups") -> "Cgroup | None":
        """It has ended: give its control group back. Returns it if processes are left inside."""
        if self.cgroup is not None and not groups.give_back(self.cgroup):
            return self.cgroup
        # Another execution may be in there by now, which a late kill of this one must not hit.
        self._vacant, self.cgroup = self.cgroup is not None, None
        return None
