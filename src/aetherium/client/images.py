"""Images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote

from aetherium.client import values
from aetherium.client.paging import collect
from aetherium.client.transport import Transport
from aetherium.domain.errors import ChannelClosed
from aetherium.domain.images import Image, ImageProgress, ImageRecipe

Progress = Callable[[ImageProgress], None]


class Images:
    """``client.images``. A `ref` is a tag, a digest, or a unique prefix of one."""

    def __init__(self, transport: Transport) -> None:
        self._http = transport

    async def build(
        self, recipe: ImageRecipe | None = None, *, cache: bool = True, progress: Progress | None = None
    ) -> Image:
        """Build an image from Debian packages; None: the recipe ``base``. Cancelling ends the build."""
        body = {"recipe": None if recipe is None else values.dump(recipe), "cache": cache}
        return await self._make("/v1/images/build", body, progress)

    async def import_image(
        self, source: str, *, tag: str | None = None, progress: Progress | None = None
    ) -> Image:
        """Make an OCI image bootable: ``docker://…``, ``oci:DIR:TAG``, ``docker-archive:FILE``."""
        return await self._make("/v1/images/import", {"source": source, "tag": tag}, progress)

    async def _make(self, path: str, body: Any, progress: Progress | None) -> Image:
        async with self._http.lines("POST", path, body=body) as lines:
            async for line in lines:
                if "image" in line:
                    return values.load(Image, line["image"])
                if progress is not None:
                    progress(values.load(ImageProgress, line["progress"]))
        raise ChannelClosed("The gateway ended its answer without an image.")

    async def list(self) -> Sequence[Image]:
        """All images, newest first."""
        return await collect(self._http, "/v1/images", Image)

    async def get(self, ref: str) -> Image:
        """One image, with its provenance."""
        return values.load(Image, await self._http.call("GET", _at(ref)))

    async def tag(self, ref: str, tag: str) -> Image:
        """Give it a further tag."""
        return values.load(Image, await self._http.call("POST", f"{_at(ref)}/tags", body={"tag": tag}))

    async def remove(self, ref: str) -> int:
        """Remove a tag, and the image with its last one; by digest all of it. Bytes that became free."""
        answer = await self._http.call("DELETE", _at(ref))
        return 0 if answer is None else int(answer["freed_bytes"])  # None: see Transport.call

    async def prune(self, *, tagged: bool = False) -> int:
        """Remove what nobody uses. Bytes that became free."""
        answer = await self._http.call("POST", "/v1/images/prune", body={"tagged": tagged})
        return int(answer["freed_bytes"])


def _at(ref: str) -> str:
    return f"/v1/images/{quote(ref, safe='/:')}"
