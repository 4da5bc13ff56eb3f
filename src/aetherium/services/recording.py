"""An attachment whose output is masked and whose end is recorded."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from aetherium.domain.executions import ExecutionResult
from aetherium.domain.guest import OutputChunk, OutputStream
from aetherium.interfaces.guest import Attachment
from aetherium.services.masking import Masker


class RecordedAttachment:
    """An Attachment over another one.

    Args:
        forms: what to mask; see masking.py.
        stdout_offset, stderr_offset: where the inner one begins.
        shown: from where on output is shown, per stream: an attachment in the middle begins a little earlier,
            so that a secret across its beginning is seen whole.
        on_result: told the result, once.
    """

    def __init__(
        self,
        inner: Attachment,
        forms: tuple[bytes, ...],
        on_result: Callable[[ExecutionResult], None],
        *,
        begin: tuple[int, int] = (0, 0),
        shown: tuple[int, int] = (0, 0),
    ) -> None:
        self._inner = inner
        self._on_result: Callable[[ExecutionResult], None] | None = on_result
        streams = (OutputStream.STDOUT, OutputStream.STDERR)
        self._maskers = {stream: Masker(forms, at) for stream, at in zip(streams, begin, strict=True)}
        self._shown = dict(zip(streams, shown, strict=True))

    async def __aiter__(self) -> AsyncIterator[OutputChunk]:
        async for chunk in self._inner:
            offset, data = self._maskers[chunk.stream].feed(chunk.offset, chunk.data)
            if piece := self._visible(chunk.stream, offset, data):
                yield piece
        for stream, masker in self._maskers.items():
            if piece := self._visible(stream, *masker.end()):
                yield piece
        await self.result()

    async def write_stdin(self, data: bytes) -> None:
        """See Attachment."""
        await self._inner.write_stdin(data)

    async def close_stdin(self) -> None:
        """See Attachment."""
        await self._inner.close_stdin()

    async def result(self) -> ExecutionResult:
        """See Attachment."""
        result = await self._inner.result()
        if self._on_result is not None:
            tell, self._on_result = self._on_result, None
            tell(result)
        return result

    def _visible(self, stream: OutputStream, offset: int, data: bytes) -> OutputChunk | None:
        skip = min(len(data), max(0, self._shown[stream] - offset))
        return OutputChunk(stream, offset + skip, data[skip:]) if len(data) > skip else None


_: type[Attachment] = RecordedAttachment
