"""Tar archives into a directory, and never out of it. Runs in a helper process (see helpers.py)."""

import os
import tarfile
from errno import EINVAL, EPERM

from aetherium.guest.files import make_directories
from aetherium.guest.spawn import User
from aetherium.guest.tarstream import COPY, TarStream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

BUFFER = 1 << 20


def unpack_archive(root: str, source: int, owner: User | None) -> None:
    """Unpack the tar stream (plain, gzip, bzip2 or xz) from the descriptor `source` below `root`.

    Raises OSError: EPERM for an entry that would leave `root`, EINVAL for what is no archive.
    """
    make_directories(root, 0o755, owner)
    stream = TarStream(source)
    unpacker = _Unpacker(os.path.realpath(root), owner, stream)
    try:
        with _opened(stream) as archive:
            for entry in archive:
                unpacker.unpack(archive, entry)
                archive.members.clear()  # type: ignore[attr-defined]  # or memory grows with every entry
    except tarfile.TarError as error:
        raise OSError(EINVAL, f"this is no tar archive: {error}") from error
    unpacker.finish()
    stream.drain()  # what follows the end is padding


def _opened(stream: TarStream) -> tarfile.TarFile:
    source: Any = stream  # not all of a file object, but all that is called
    if stream.compressed:
        return tarfile.open(fileobj=source, mode="r|*", bufsize=BUFFER)
    return tarfile.TarFile(fileobj=source)


class _Unpacker:
    def __init__(self, root: str, owner: User | None, stream: TarStream) -> None:
        self._stream = stream
        self._root = root
        self._owner = owner
        self._directories: list[tuple[str, tarfile.TarInfo]] = []

    def unpack(self, archive: tarfile.TarFile, entry: tarfile.TarInfo) -> None:
        """One entry."""
        path = self._inside(entry.name, entry.name)
        if path == self._root:
            return
        make_directories(os.path.dirname(path), 0o755, self._owner)
        if entry.isdir():
            self._directory(path, entry)
            return
        if os.path.lexists(path):
            if os.path.isdir(path) and not os.path.islink(path):
                raise OSError(EINVAL, "a directory is in the way", entry.name)
            os.unlink(path)
        if entry.isreg():
            self._file(archive, entry, path)
        elif entry.issym():
            os.symlink(entry.linkname, path)
            self._own(path, entry)
        elif entry.islnk():
            os.link(self._inside(entry.linkname, entry.name), path, follow_symlinks=False)
        elif entry.isfifo():
            os.mkfifo(path, entry.mode & 0o7777)
            self._own(path, entry)
        else:
            raise OSError(EPERM, "devices are not unpacked", entry.name)

    def finish(self) -> None:
        """Directories get mode and time last: they may be read-only, and filling them changes the time."""
        for path, entry in reversed(self._directories):
            self._own(path, entry)
            os.chmod(path, entry.mode & 0o7777)
            os.utime(path, (entry.mtime, entry.mtime))

    def _inside(self, name: str, entry: str) -> str:
        """Where `name` is to be. Raises OSError (EPERM) if that is not below the root, links resolved."""
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if name.startswith("/") or ".." in parts or "\0" in name:
            raise OSError(EPERM, "the archive's entry would leave the directory", entry)
        if not parts:
            return self._root
        parent = os.path.realpath(os.path.join(self._root, *parts[:-1]))
        inside = self._root if self._root.endswith("/") else self._root + "/"
        if parent != self._root and not parent.startswith(inside):
            raise OSError(EPERM, "the archive's entry would leave the directory through a link", entry)
        return os.path.join(parent, parts[-1])

    def _directory(self, path: str, entry: tarfile.TarInfo) -> None:
        if os.path.islink(path) or (os.path.lexists(path) and not os.path.isdir(path)):
            os.unlink(path)
        if not os.path.isdir(path):
            os.mkdir(path, 0o700)
        self._directories.append((path, entry))

    def _file(self, archive: tarfile.TarFile, entry: tarfile.TarInfo, path: str) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(path, flags, 0o600)
        try:
            self._content(archive, entry, fd)
            self._own(path, entry)
            os.fchmod(fd, entry.mode & 0o7777)
        finally:
            os.close(fd)
        os.utime(path, (entry.mtime, entry.mtime))

    def _content(self, archive: tarfile.TarFile, entry: tarfile.TarInfo, fd: int) -> None:
        plain: object = archive.fileobj
        if plain is self._stream and not entry.issparse():
            if not self._stream.copy(fd, entry.size):
                raise tarfile.ReadError("unexpected end of data")
            return
        content = archive.extractfile(entry)  # compressed, or with holes
        while content is not None and (data := content.read(COPY)):
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]

    def _own(self, path: str, entry: tarfile.TarInfo) -> None:
        if self._owner is not None:
            os.lchown(path, self._owner.uid or 0, self._owner.gid or 0)
        elif os.geteuid() == 0:
            os.lchown(path, entry.uid, entry.gid)
