"""A pipe from which tarfile reads headers, while contents go to their files inside the kernel."""

import os
from errno import EINVAL

READAHEAD = 32 * 1024
COPY = 256 * 1024
# Beginnings of what is compressed: gzip, bzip2, xz.
_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ")


class TarStream:
    """As much of a file object as TarFile needs, forward only."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._ahead = b""
        self._position = 0  # of what is in `_ahead`

    @property
    def compressed(self) -> bool:
        """Whether it begins like a compressed file."""
        while len(self._ahead) < max(map(len, _COMPRESSED)) and self._more():
            continue
        return self._ahead.startswith(_COMPRESSED)

    def tell(self) -> int:
        """Bytes read so far."""
        return self._position

    def seek(self, position: int) -> None:
        """Skip what is before `position`. Raises OSError (EINVAL) for what was read already."""
        left = position - self._position
        if left < 0:
            raise OSError(EINVAL, "the archive refers to what came before")
        while left:
            skipped = len(self._take(min(left, COPY)))
            if not skipped:
                return
            left -= skipped

    def read(self, size: int) -> bytes:
        """So many bytes, fewer only at the end."""
        pieces = []
        while size:
            piece = self._take(size)
            if not piece:
                break
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)

    def copy(self, target: int, size: int) -> bool:
        """So many bytes into the file `target`; False if there are fewer."""
        left = size - self._write(target, size)
        while left:
            try:
                count = os.splice(self._fd, target, left)
            except OSError as error:
                if error.errno != EINVAL:
                    raise
                return self._copy_slowly(target, left)  # a file system without splice
            if not count:
                return False
            self._position += count
            left -= count
        return True

    def drain(self) -> None:
        """Read to the end: the sender must not find a closed pipe."""
        while self._take(COPY):
            continue

    def _copy_slowly(self, target: int, left: int) -> bool:
        while left:
            if not self._ahead and not self._more():
                return False
            left -= self._write(target, left)
        return True

    def _write(self, target: int, size: int) -> int:
        """What was read ahead, up to `size` bytes, into `target`; how much that was."""
        data = self._take(min(size, len(self._ahead)))
        view = memoryview(data)
        while view:
            view = view[os.write(target, view) :]
        return len(data)

    def _take(self, size: int) -> bytes:
        """Up to `size` bytes; none at the end."""
        if size and not self._ahead:
            self._more()
        data, self._ahead = self._ahead[:size], self._ahead[size:]
        self._position += len(data)
        return data

    def _more(self) -> bool:
        data = os.read(self._fd, READAHEAD)
        self._ahead += data
        return bool(data)
