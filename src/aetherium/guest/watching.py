"""Changes below a directory, by inotify(7), which Python's library lacks. Runs in a helper process."""

import ctypes
import os
import select
from struct import Struct

from aetherium.protocol.pack import pack

EVENT = Struct("iIII")
IN_MODIFY, IN_ATTRIB, IN_MOVED_FROM, IN_MOVED_TO = 0x2, 0x4, 0x40, 0x80
IN_CREATE, IN_DELETE, IN_DELETE_SELF = 0x100, 0x200, 0x400
IN_Q_OVERFLOW, IN_IGNORED, IN_ONLYDIR, IN_DONT_FOLLOW, IN_ISDIR = (
    0x4000,
    0x8000,
    0x1000000,
    0x2000000,
    0x40000000,
)
MASK = IN_MODIFY | IN_ATTRIB | IN_MOVED_FROM | IN_MOVED_TO | IN_CREATE | IN_DELETE
READ_SIZE = 64 * 1024
# Both halves of a move are told one after the other: if the second is not there by now, it is outside.
MOVE_MS = 20


def follow(top: str, sink: int) -> None:
    """Write an empty event once the watch is in place, then one for each change, until killed."""
    watcher = _Watcher(top, sink)
    watcher.add(top, announce=False)
    watcher.emit({})
    watcher.run()


class _Watcher:
    def __init__(self, top: str, sink: int) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = self._libc.inotify_init1(os.O_CLOEXEC)
        if self._fd < 0:
            raise _failure("inotify")
        self._top = top
        self._sink = sink
        self._paths: dict[int, str] = {}
        self._moving: dict[int, str] = {}  # cookie of a move → where the directory was

    def emit(self, event: dict[str, str]) -> None:
        data = pack(event)
        os.write(self._sink, len(data).to_bytes(4, "big") + data)

    def add(self, path: str, *, announce: bool) -> None:
        """Watch a directory and all below it. What is there already when it is found later is announced:
        it came before the watch did."""
        pending = [path]
        while pending:
            directory = pending.pop()
            flags = MASK | IN_ONLYDIR | (0 if directory == self._top else IN_DONT_FOLLOW)
            number = self._libc.inotify_add_watch(self._fd, os.fsencode(directory), flags)
            if number < 0:
                self._cannot(directory)
                continue
            self._paths[number] = directory
            for name, is_directory in _list(directory):
                full = os.path.join(directory, name)
                if announce:
                    self.emit({"kind": "created", "path": full})
                if is_directory:
                    pending.append(full)

    def _cannot(self, directory: str) -> None:
        error = _failure(directory)
        if directory == self._top:
            raise error
        if not isinstance(error, FileNotFoundError | NotADirectoryError | PermissionError):
            # Out of watches: the client has to know that it does not see everything.
            self.emit({"kind": "overflow", "path": directory})

    def run(self) -> None:
        ready = select.poll()
        ready.register(self._fd, select.POLLIN)
        while True:
            if self._moving and not ready.poll(MOVE_MS):
                self._moved_away()
            data = os.read(self._fd, READ_SIZE)
            at = 0
            while at < len(data):
                number, mask, cookie, length = EVENT.unpack_from(data, at)
                at += EVENT.size + length
                self._event(number, mask, cookie, data[at - length : at].rstrip(b"\0"))

    def _event(self, number: int, mask: int, cookie: int, raw: bytes) -> None:
        if mask & IN_Q_OVERFLOW:
            self.emit({"kind": "overflow", "path": self._top})
            return
        if mask & IN_IGNORED:
            self._paths.pop(number, None)
            return
        directory = self._paths.get(number)
        if directory is None:
            return
        path = os.path.join(directory, os.fsdecode(raw)) if raw else directory
        self.emit({"kind": _kind(mask), "path": path})
        if not mask & IN_ISDIR:
            return
        if mask & IN_MOVED_FROM:
            self._moving[cookie] = path
        elif mask & IN_MOVED_TO and cookie in self._moving:
            self._renamed(self._moving.pop(cookie), path)
        elif mask & (IN_CREATE | IN_MOVED_TO):
            self.add(path, announce=True)

    def _below(self, path: str) -> list[int]:
        return [n for n, each in self._paths.items() if each == path or each.startswith(path + "/")]

    def _renamed(self, old: str, new: str) -> None:
        """Watches follow their directory; only the names have to."""
        for number in self._below(old):
            self._paths[number] = new + self._paths[number][len(old) :]

    def _moved_away(self) -> None:
        """Directories that did not appear elsewhere under the top are none of ours any more."""
        for path in self._moving.values():
            for number in self._below(path):
                self._libc.inotify_rm_watch(self._fd, number)
                del self._paths[number]
        self._moving.clear()


def _kind(mask: int) -> str:
    if mask & IN_CREATE:
        return "created"
    if mask & IN_DELETE:
        return "removed"
    return "moved" if mask & (IN_MOVED_FROM | IN_MOVED_TO) else "modified"


def _list(directory: str) -> list[tuple[str, bool]]:
    try:
        with os.scandir(directory) as entries:
            return [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    except OSError:
        return []  # gone again


def _failure(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number), what)
