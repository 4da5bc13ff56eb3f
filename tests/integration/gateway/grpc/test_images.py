"""Images: built and imported with progress, tagged, removed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from grpc import StatusCode
from grpc.aio import AioRpcError, Channel

from aetherium.domain.errors import ImageFailed
from aetherium.domain.images import Image, ImageProgress, ImageRecipe
from aetherium.protocol.generated import images_pb2 as pb
from aetherium.protocol.generated.images_pb2_grpc import ImageServiceStub
from aetherium.services.images import ImageService
from tests.integration.gateway.grpc.conftest import Served, told

if TYPE_CHECKING:
    from aetherium.protocol.generated.images_pb2_grpc import ImageServiceAsyncStub

_DEADLINE_S = 20


async def _progress(responses: AsyncIterable[pb.ImageServiceImportResponse]) -> list[str]:
    """All stages that are told."""
    return [response.progress.stage async for response in responses]


@pytest.fixture
def images(channel: Channel) -> ImageServiceAsyncStub:
    return ImageServiceStub(channel)


async def test_images_are_listed(images: ImageServiceAsyncStub) -> None:
    listed = (await images.List(pb.ImageServiceListRequest())).images
    assert [list(image.tags) for image in listed] == [["base"]]
    found = (await images.Get(pb.ImageServiceGetRequest(ref="base"))).image
    assert found == listed[0]


async def test_images_are_tagged_and_removed(images: ImageServiceAsyncStub) -> None:
    tagged = (await images.Tag(pb.ImageServiceTagRequest(ref="base", tag="more"))).image
    assert sorted(tagged.tags) == ["base", "more"]
    assert (await images.Remove(pb.ImageServiceRemoveRequest(ref="more"))).freed_bytes == 0
    assert (await images.Prune(pb.ImageServicePruneRequest())).freed_bytes == 0
    assert (await images.Prune(pb.ImageServicePruneRequest(tagged=True))).freed_bytes > 0
    assert not (await images.List(pb.ImageServiceListRequest())).images


async def test_building_tells_how_far_it_is(
    served: Served, images: ImageServiceAsyncStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = await served.platform.images.get("base")
    asked: list[object] = []
    seen = asyncio.Event()

    async def build(
        _: ImageService, recipe: ImageRecipe | None, *, cache: bool, progress: Callable[[object], None]
    ) -> Image:
        asked.append((recipe, cache))
        progress(ImageProgress("Installing packages", 0.5, "git"))
        await seen.wait()
        return replace(base, source="build:dev")

    monkeypatch.setattr(ImageService, "build", build)
    recipe = pb.ImageRecipe(name="dev", packages=["git"])
    async with asyncio.timeout(_DEADLINE_S):
        request = pb.ImageServiceBuildRequest(recipe=recipe, cache=False)
        responses = aiter(images.Build(request))
        first = (await anext(responses)).progress
        assert (first.stage, first.fraction, first.detail) == ("Installing packages", 0.5, "git")
        seen.set()
        assert [response.image.source async for response in responses] == ["build:dev"]
        last = [response.image async for response in images.Build(pb.ImageServiceBuildRequest())][-1]
    assert last.digest == base.digest
    assert asked == [(ImageRecipe("dev", ("git",)), False), (None, True)]


async def test_an_import_that_fails_says_why_and_one_that_is_left_ends(
    images: ImageServiceAsyncStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = asyncio.Event()

    async def bring(_: ImageService, source: str, *, tag: str | None, progress: Any) -> Image:
        assert tag == "it"
        progress(ImageProgress("Fetching"))
        if source == "docker://broken":
            raise ImageFailed("There is no such image.")
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        raise AssertionError

    monkeypatch.setattr(ImageService, "import_image", bring)
    async with asyncio.timeout(_DEADLINE_S):
        broken = images.Import(pb.ImageServiceImportRequest(source="docker://broken", tag="it"))
        with pytest.raises(AioRpcError) as caught:
            await _progress(broken)
        assert (caught.value.code(), told(caught.value).code) == (
            StatusCode.FAILED_PRECONDITION,
            "image_failed",
        )
        call = images.Import(pb.ImageServiceImportRequest(source="docker://slow", tag="it"))
        assert (await anext(aiter(call))).progress.stage == "Fetching"
        call.cancel()
        await ended.wait()


async def test_a_recipe_that_is_none_is_refused(images: ImageServiceAsyncStub) -> None:
    request = pb.ImageServiceBuildRequest(recipe=pb.ImageRecipe(name="dev", packages=["--bad"]))
    with pytest.raises(AioRpcError) as caught:
        await anext(aiter(images.Build(request)))
    assert (caught.value.code(), told(caught.value).details["field"]) == (
        StatusCode.INVALID_ARGUMENT,
        "packages",
    )
