"""What a store has to do for requests that come again."""

from __future__ import annotations

import asyncio
from datetime import datetime

from aetherium.interfaces.idempotency import Earlier, RequestKey
from aetherium.interfaces.store import Store
from tests.contract.store.databases import Stores

REQUEST = RequestKey("prj_1", "key", "vms_create")
OTHERS = (
    RequestKey("prj_2", "key", "vms_create"),
    RequestKey("prj_1", "key2", "vms_create"),
    RequestKey("prj_1", "key", "vms_fork"),
)


async def _begin(store: Store, request: RequestKey = REQUEST) -> datetime:
    begun = await store.idempotency.begin(request, "f", lease_s=30)
    assert isinstance(begun, datetime)
    return begun


class IdempotencyContract:
    """Mixed into StoreContract."""

    async def test_a_repeat_finds_the_first_and_then_its_answer(self, store: Store) -> None:
        begun = await _begin(store)
        assert await store.idempotency.begin(REQUEST, "g", lease_s=30) == Earlier("f")
        assert await store.idempotency.keep(REQUEST, begun, 201, b"\0{}", keep_s=60)
        assert await store.idempotency.begin(REQUEST, "g", lease_s=30) == Earlier("f", 201, b"\0{}")

    async def test_requests_are_told_apart_by_project_key_and_operation(self, store: Store) -> None:
        for request in (REQUEST, *OTHERS):
            await _begin(store, request)

    async def test_of_many_at_once_one_is_the_first(self, stores: Stores) -> None:
        both = (stores.store, stores.of_another_process())
        found = await asyncio.gather(
            *(both[i % 2].idempotency.begin(REQUEST, "f", lease_s=30) for i in range(8))
        )
        assert sum(isinstance(each, datetime) for each in found) == 1

    async def test_one_that_failed_may_be_tried_again(self, store: Store) -> None:
        begun = await _begin(store)
        await store.idempotency.release(REQUEST, begun)
        begun = await _begin(store)
        await store.idempotency.keep(REQUEST, begun, 201, b"", keep_s=60)
        await store.idempotency.release(REQUEST, begun)
        assert await store.idempotency.begin(REQUEST, "f", lease_s=30) == Earlier("f", 201)

    async def test_what_is_over_is_forgotten(self, stores: Stores) -> None:
        store = stores.store
        first = await _begin(store)
        stores.let_pass(29)
        assert await store.idempotency.renew(REQUEST, first, lease_s=30)
        stores.let_pass(29)
        assert isinstance(await store.idempotency.begin(REQUEST, "f", lease_s=30), Earlier)
        stores.let_pass(2)
        second = await _begin(store)
        assert not await store.idempotency.renew(REQUEST, first, lease_s=30)
        assert not await store.idempotency.keep(REQUEST, first, 201, b"", keep_s=60)
        await store.idempotency.release(REQUEST, first)
        assert await store.idempotency.keep(REQUEST, second, 201, b"", keep_s=60)
        stores.let_pass(61)
        await _begin(store)
