"""Objects in S3."""

from __future__ import annotations

import re
from collections.abc import Sequence

import httpx2
import pytest

from aetherium.domain.errors import InvalidInput, Unavailable
from aetherium.interfaces.objects import ObjectStore
from aetherium.objects.opening import open_objects
from tests.contract.objects.contract import ObjectStoreContract
from tests.fixtures.s3 import SECRET, Bucket, access


class TestS3Objects(ObjectStoreContract):
    @pytest.fixture(autouse=True)
    def remember(self, s3_bucket: Bucket) -> None:
        self.bucket = s3_bucket

    @pytest.fixture
    async def store(self, s3_bucket: Bucket) -> ObjectStore:
        return open_objects(s3_bucket.url, s3_bucket.access)

    @pytest.fixture
    def place(self, s3_bucket: Bucket) -> Sequence[str]:
        return [s3_bucket.url, s3_bucket.endpoint]

    @pytest.fixture
    def broken(self) -> ObjectStore:
        return open_objects("s3://bucket/prefix", access("http://127.0.0.1:9", patience_s=0.2))

    async def left(self, store: ObjectStore) -> Sequence[str]:
        async with httpx2.AsyncClient() as client:
            answer = await client.get(f"{self.bucket.endpoint}/{self.bucket.name}", params={"uploads": ""})
        return re.findall(r"<UploadId>(.*?)</UploadId>", answer.text)

    async def left_by_the_killed(self, store: ObjectStore) -> Sequence[str]:
        """Unfinished uploads are the bucket's business; they are no objects."""
        return []

    async def test_a_bucket_that_is_not_there(self, s3_endpoint: str) -> None:
        store = open_objects("s3://no-such-bucket", access(s3_endpoint))
        with pytest.raises(Unavailable, match="NoSuchBucket"):
            await store.put("a", b"")
        with pytest.raises(Unavailable):
            await store.list("")

    async def test_the_prefix_keeps_others_out(self, store: ObjectStore, s3_bucket: Bucket) -> None:
        other = open_objects(f"s3://{s3_bucket.name}/some/prefixes", s3_bucket.access)
        await other.put("a", b"theirs")
        await store.put("a", b"ours")
        assert await store.remove_all("a") == 0
        assert [info.key for info in await store.list("")] == ["a"]
        whole = open_objects(f"s3://{s3_bucket.name}", s3_bucket.access)
        assert [info.key for info in await whole.list("")] == ["some/prefix/a", "some/prefixes/a"]

    async def test_keys_are_not_shown(self, store: ObjectStore, s3_bucket: Bucket) -> None:
        assert SECRET not in repr(s3_bucket.access) + repr(store) + repr(vars(store))


@pytest.mark.parametrize(
    "url",
    ["", "s3://", "s3://x", "s3:///prefix", "s3://key:secret@bucket/x", "s3://bucket/../x", "s3://bucket//x",
     "s3://bucket?x=y", "file://", "file:///", "file://host/x", "https://bucket", "/path"],
)  # fmt: skip
def test_urls_that_name_no_store(url: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        open_objects(url)
    assert "secret" not in str(caught.value)
