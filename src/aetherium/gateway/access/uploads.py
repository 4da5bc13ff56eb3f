"""Files that callers bring for their jobs."""

from __future__ import annotations

from collections.abc import AsyncIterable
from typing import TYPE_CHECKING

from aetherium.domain.errors import Unsupported
from aetherium.domain.uploads import Upload
from aetherium.gateway.access.access import Access
from aetherium.gateway.access.rules import guards

if TYPE_CHECKING:
    from aetherium.services.uploads import UploadService


class Uploads:
    """See UploadService."""

    def __init__(self, access: Access, inner: UploadService | None) -> None:
        self._access = access
        self._inner = inner

    @guards("jobs:write", "upload.create")
    async def take(self, data: AsyncIterable[bytes]) -> Upload:
        if self._inner is None:
            raise Unsupported("uploads", "gateway", message="This gateway takes no uploads.")
        return await self._inner.take(data, project=self._access.project)
