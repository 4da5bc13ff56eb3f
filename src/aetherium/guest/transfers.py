"""Contents of files: ranges out, atomic replacement or writing in place in. A chunk at a time."""

import os
import stat as modes
from errno import EINVAL, EISDIR

from aetherium.guest.agent import Agent
from aetherium.guest.connection import Handler, Stream
from aetherium.guest.files import describe, make_directories, owner_of, path_of
from aetherium.guest.spawn import User
from aetherium.protocol.frames import DATA

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Credit that a writer has beyond the initial one, so that the round trip does not limit the speed.
WRITE_WINDOW = 448 * 1024
DEFAULT_MODE = 0o644


def read(_agent: Agent, stream: Stream, params: "dict[str, Any]") -> None:
    """file.read"""
    offset, length = params["offset"], params["length"]
    if (
        type(offset) is not int
        or offset < 0
        or (length is not None and (type(length) is not int or length < 0))
    ):
        raise OSError(EINVAL, f"no range: offset {offset!r}, length {length!r}")
    path = path_of(params)
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        _refuse_unreadable(os.fstat(fd).st_mode, path)
        if offset:
            os.lseek(fd, offset, os.SEEK_SET)
    except OSError:
        os.close(fd)
        raise
    stream.answer(_Reader(fd, length))
    stream.wake()


def _refuse_unreadable(mode: int, path: str) -> None:
    if modes.S_ISDIR(mode):
        raise OSError(EISDIR, os.strerror(EISDIR), path)
    if modes.S_ISFIFO(mode) or modes.S_ISSOCK(mode):
        raise OSError(EINVAL, "a pipe cannot be read as a file", path)


class _Reader(Handler):
    def __init__(self, fd: int, length: int | None) -> None:
        self._fd = fd
        self._left = length
        self._sent = 0

    def pump(self) -> bool:
        room = self.stream.room()
        if room <= 0 or self._fd < 0:
            return False
        try:
            data = os.read(self._fd, room if self._left is None else min(room, self._left))
        except OSError as error:
            self.closed(clean=True)
            self.stream.fail(error)
            return False
        if not data:
            self.closed(clean=True)
            self.stream.respond({"size": self._sent})
            return False
        self._sent += len(data)
        if self._left is not None:
            self._left -= len(data)
        self.stream.send(DATA, data)
        return True

    def closed(self, clean: bool) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def write(_agent: Agent, stream: Stream, params: "dict[str, Any]") -> None:
    """file.write"""
    path, owner = path_of(params), owner_of(params)
    mode, offset = params["mode"], params["offset"]
    make_directories(os.path.dirname(path), 0o755, owner)
    path = os.path.realpath(path)
    if os.path.isdir(path):
        raise OSError(EISDIR, os.strerror(EISDIR), path)
    special = os.path.exists(path) and not os.path.isfile(path)
    if offset is None and not special:
        stream.answer(_Replacer(path, mode, owner))
    else:
        stream.answer(_Patcher(path, mode, owner, offset or 0))
    stream.grant(WRITE_WINDOW)


class _Writer(Handler):
    """Writes what comes to a descriptor, and tells of the first failure."""

    def __init__(self, fd: int, path: str) -> None:
        self._fd = fd
        self._path = path

    def data(self, payload: bytes) -> None:
        view = memoryview(payload)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError as error:
            self._give_up(error)
            return
        self.stream.grant(len(payload))

    def end(self) -> None:
        try:
            self._finish()
            answer = describe(self._path)
        except OSError as error:
            self._give_up(error)
            return
        self._close()
        self.stream.respond(answer)

    def closed(self, clean: bool) -> None:
        self._close()

    def _give_up(self, error: OSError) -> None:
        self._close()
        self.stream.fail(error)

    def _finish(self) -> None:
        raise NotImplementedError

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class _Replacer(_Writer):
    """Into a new file beside the old one, which it then replaces. No sync: a VM's disk lives with the VM."""

    def __init__(self, path: str, mode: int | None, owner: User | None) -> None:
        directory, _, name = path.rpartition("/")
        self._temporary = f"{directory}/.{name[:200]}.{os.urandom(6).hex()}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        super().__init__(os.open(self._temporary, flags, 0o600), path)
        self._mode = mode
        self._owner = owner

    def _finish(self) -> None:
        mode = DEFAULT_MODE if self._mode is None else self._mode & 0o7777
        ids = (self._owner.uid or 0, self._owner.gid or 0) if self._owner else None
        try:
            old = os.stat(self._path)
        except FileNotFoundError:
            old = None
        if old is not None:
            mode = modes.S_IMODE(old.st_mode) if self._mode is None else mode
            if ids is None and (old.st_uid, old.st_gid) != (os.geteuid(), os.getegid()):
                ids = (old.st_uid, old.st_gid)
        if ids is not None:
            os.fchown(self._fd, *ids)
        os.fchmod(self._fd, mode)
        os.rename(self._temporary, self._path)
        self._temporary = ""

    def _close(self) -> None:
        super()._close()
        if self._temporary:
            os.unlink(self._temporary)
            self._temporary = ""


class _Patcher(_Writer):
    """In place, from an offset on."""

    def __init__(self, path: str, mode: int | None, owner: User | None, offset: int) -> None:
        fresh = not os.path.exists(path)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, DEFAULT_MODE)
        super().__init__(fd, path)
        try:
            if offset:
                os.lseek(fd, offset, os.SEEK_SET)
            if owner is not None and fresh:
                os.fchown(fd, owner.uid or 0, owner.gid or 0)
            if mode is not None:
                os.fchmod(fd, mode & 0o7777)
        except OSError:
            self._close()
            raise

    def _finish(self) -> None:
        """Nothing is left to do."""
