"""Work that would hold up the agent's loop, done in a forked child: archives and watches.

The child talks over pipes: bytes in, bytes out, and at its end a report, a packed {errno, message}; no report
means success.
"""

import os
from errno import EAGAIN, EINTR, EIO, errorcode

from aetherium.guest.agent import Agent
from aetherium.guest.connection import Handler, Stream
from aetherium.guest.files import owner_of, path_of
from aetherium.guest.loop import READ, WRITE
from aetherium.guest.signals import (
    SIG_DFL,
    SIGCHLD,
    SIGINT,
    SIGKILL,
    SIGPIPE,
    SIGTERM,
    set_handler,
    set_wakeup_fd,
)
from aetherium.protocol.frames import DATA, EVENT
from aetherium.protocol.pack import PackError, pack, pack_list, unpack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

UPLOAD_WINDOW = 448 * 1024
PIPE_SIZE = 512 * 1024
MAX_REPORT = 8192
CLOSE_UP_TO = 4096


def archive_out(agent: Agent, stream: Stream, params: "dict[str, Any]") -> None:
    """archive.out"""
    path = path_of(params)
    include, exclude = _patterns(params["include"]), _patterns(params["exclude"])
    os.lstat(path)

    def work(_source: int, sink: int) -> None:
        from aetherium.guest.archives import create

        create(path, include, exclude, sink)

    stream.answer(Helper(agent, work))
    stream.wake()


def archive_in(agent: Agent, stream: Stream, params: "dict[str, Any]") -> None:
    """archive.in"""
    path, owner = path_of(params), owner_of(params)

    def work(source: int, _sink: int) -> None:
        from aetherium.guest.unpacking import unpack_archive

        unpack_archive(path, source, owner)

    stream.answer(Helper(agent, work))
    stream.grant(UPLOAD_WINDOW)


def watch(agent: Agent, stream: Stream, params: "dict[str, Any]") -> None:
    """file.watch"""
    path = path_of(params)
    os.listdir(path)

    def work(_source: int, sink: int) -> None:
        from aetherium.guest.watching import follow

        follow(path, sink)

    stream.answer(Watcher(agent, work))


def _patterns(value: object) -> list[str]:
    if type(value) is not list or not all(type(item) is str for item in value):
        raise TypeError("patterns are no list of strings")
    return value


class Helper(Handler):
    """A child that takes the stream's DATA as input and whose output becomes DATA."""

    def __init__(self, agent: Agent, work: "Callable[[int, int], None]") -> None:
        self._agent = agent
        opened: list[int] = []
        try:
            for _ in range(3):
                opened += os.pipe()
            for fd in (opened[0], opened[2]):
                _widen(fd)
            self._pid = os.fork()
        except OSError:
            for fd in opened:
                os.close(fd)
            raise
        source, self._input, self._output, sink, self._report, report = opened
        self._pending = bytearray()
        self._ended = False
        self._eof = False
        self._status: int | None = None
        self._readable = False
        if self._pid == 0:
            _run(work, source, sink, report)
        for fd in (source, sink, report):
            os.close(fd)
        os.set_blocking(self._input, False)
        os.set_blocking(self._output, False)
        agent.children[self._pid] = self._reaped
        agent.loop.watch(self._output, READ, self._wake)

    # -- input

    def data(self, payload: bytes) -> None:
        if not self._pending and self._input >= 0:
            count = self._take(payload)
            self.stream.grant(count)
            if count == len(payload):
                return
            payload = payload[count:]
        self._pending += payload
        self._flush(0)

    def end(self) -> None:
        self._ended = True
        self._flush(0)

    def _flush(self, _events: int) -> None:
        if self._input < 0:
            return
        count = self._take(self._pending)
        del self._pending[:count]
        self.stream.grant(count)
        if self._pending:
            self._agent.loop.watch(self._input, WRITE, self._flush)
        else:
            self._agent.loop.unwatch(self._input)
            if self._ended:
                os.close(self._input)
                self._input = -1

    def _take(self, data: bytes | bytearray) -> int:
        """How much of `data` the child's pipe takes now; all of it when the child reads no more."""
        at = 0
        try:
            with memoryview(data) as view:
                while at < len(view):
                    at += os.write(self._input, view[at:])
        except OSError as error:
            if error.errno not in (EAGAIN, EINTR):
                return len(data)  # its report will say why
        return at

    # -- output

    def _wake(self, _events: int) -> None:
        # Not watched again before the stream has taken what is there: the child waits for the client.
        self._agent.loop.unwatch(self._output)
        self._readable = True
        self.stream.wake()

    def pump(self) -> bool:
        room = self.stream.room() - self.held()
        if self._output < 0 or not self._readable or room <= 0:
            return False
        try:
            data = os.read(self._output, room)
        except OSError as error:
            if error.errno not in (EAGAIN, EINTR):
                raise
            self._readable = False
            self._agent.loop.watch(self._output, READ, self._wake)
            return False
        if not data:
            self._eof = True
            os.close(self._output)
            self._output = -1
            self._finish()
            return False
        self.emit(data)
        return True

    def held(self) -> int:
        """Bytes that were read and not sent yet: they need credit, too."""
        return 0

    def emit(self, data: bytes) -> None:
        """Pass output of the child on."""
        self.stream.send(DATA, data)

    # -- end

    def _reaped(self, status: int) -> None:
        self._status = status
        self._finish()

    def _finish(self) -> None:
        """Answer once the child has ended and its output was sent."""
        if self._status is None or not self._eof or self._report < 0:
            return
        report = os.read(self._report, MAX_REPORT)
        self._close()
        try:
            value = unpack(report) if report else {}
            if value:
                self.stream.fail(value["errno"], value["message"])
            elif self._status != 0:
                self.stream.fail(OSError(EIO, f"the helper ended with status {self._status}"))
            else:
                self.stream.respond({})
        except (PackError, KeyError, TypeError) as error:
            self.stream.fail(OSError(EIO, f"the helper's report is malformed: {error}"))

    def closed(self, clean: bool) -> None:
        if self._status is None:
            os.kill(self._pid, SIGKILL)
        self._close()

    def _close(self) -> None:
        for fd in (self._input, self._output, self._report):
            if fd >= 0:
                self._agent.loop.unwatch(fd)
                os.close(fd)
        self._input = self._output = self._report = -1


class Watcher(Helper):
    """A child whose output is packed events, each with its length before it. They go out as lists."""

    def __init__(self, agent: Agent, work: "Callable[[int, int], None]") -> None:
        self._partial = bytearray()
        super().__init__(agent, work)

    def held(self) -> int:
        # A list of n events is at most a byte longer than they were with their lengths.
        return len(self._partial) + 1

    def emit(self, data: bytes) -> None:
        self._partial += data
        events = []
        at = 0
        while len(self._partial) - at >= 4:
            end = at + 4 + int.from_bytes(self._partial[at : at + 4], "big")
            if end > len(self._partial):
                break
            events.append(bytes(self._partial[at + 4 : end]))
            at = end
        del self._partial[:at]
        if events:
            self.stream.send(EVENT, pack_list(events))


def _run(work: "Callable[[int, int], None]", source: int, sink: int, report: int) -> None:
    """The child's life. Never returns."""
    status = 1
    try:
        set_wakeup_fd(-1)
        for number in (SIGCHLD, SIGINT, SIGTERM, SIGPIPE):
            set_handler(number, SIG_DFL)
        _close_others({source, sink, report})
        _be_killable()
        work(source, sink)
        status = 0
    except OSError as error:
        name = errorcode.get(error.errno or 0, "EIO")
        where = f": {error.filename!r}" if isinstance(error.filename, str) else ""
        _tell(report, name, f"{error.strerror or error}{where}")
    except Exception as error:  # the end of a process: reported to the client
        _tell(report, "EINVAL", f"{type(error).__name__}: {error}")
    finally:
        os._exit(status)


def _widen(pipe: int) -> None:
    """Fewer turns between the agent and its helper; not when the user's pipes are at their limit together."""
    from fcntl import fcntl

    f_setpipe_sz = 1031
    try:
        fcntl(pipe, f_setpipe_sz, PIPE_SIZE)
    except PermissionError:
        return


def _tell(report: int, name: str, message: str) -> None:
    os.write(report, pack({"errno": name, "message": message[:1000]}))


def _close_others(keep: set[int]) -> None:
    """Connections and pipes of the agent must not live on here."""
    last = 2
    for fd in sorted(keep):
        os.closerange(last + 1, fd)
        last = fd
    os.closerange(last + 1, CLOSE_UP_TO)


def _be_killable() -> None:
    """The agent is spared by the OOM killer; its helpers are not."""
    from aetherium.guest.launch import set_oom_score

    set_oom_score(0)
