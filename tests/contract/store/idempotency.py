"""What a store has to do for requests that come again."""

from __future__ import annotations

import asyncio

from aetherium.interfaces.idempotency import Begun, Earlier, RequestKey
from aetherium.interfaces.store import Store
from tests.contract.store.databases import Stores

REQUEST = RequestKey("prj_1", "key", "vms_create")
OTHERS = (
    RequestKey("prj_2", "key", "vms_create"),
    RequestKey("prj_1", "key2", "vms_create"),
    RequestKey("prj_1", "key", "vms_fork"),
)


async def _begin(store: Store, request: RequestKey = REQUEST, mark: str = "exe_1") -> Begun:
    begun = await store.idempotency.begin(request, "f", mark, lease_s=30)
    assert isinstance(begun, Begun)
    return begun


async def _repeat(store: Store, fingerprint: str = "f") -> Begun | Earlier:
    return await store.idempotency.begin(REQUEST, fingerprint, "exe_2", lease_s=30)


class IdempotencyContract:
    """Mixed into StoreContract."""

    async def test_a_repeat_finds_the_first_and_then_its_answer(self, store: Store) -> None:
        begun = await _begin(store)
        assert await _repeat(store, "g") == Earlier("f")
        assert await store.idempotency.keep(REQUEST, begun.at, 201, b"\0{}", keep_s=60)
        assert await _repeat(store, "g") == Earlier("f", 201, b"\0{}")

    async def test_requests_are_told_apart_by_project_key_and_operation(self, store: Store) -> None:
        for request in (REQUEST, *OTHERS):
            await _begin(store, request)

    async def test_of_many_at_once_one_is_the_first(self, stores: Stores) -> None:
        both = (stores.store, stores.of_another_process())
        found = await asyncio.gather(*(_repeat(both[i % 2]) for i in range(8)))
        assert sum(isinstance(each, Begun) for each in found) == 1

    async def test_one_that_failed_may_be_tried_again(self, store: Store) -> None:
        begun = await _begin(store)
        await store.idempotency.release(REQUEST, begun.at)
        begun = await _begin(store, mark="exe_3")
        assert begun.mark == "exe_3"
        await store.idempotency.keep(REQUEST, begun.at, 201, b"", keep_s=60)
        await store.idempotency.release(REQUEST, begun.at)
        assert await _repeat(store) == Earlier("f", 201)

    async def test_what_nobody_carries_out_any_more_is_begun_anew_with_its_id(self, stores: Stores) -> None:
        store = stores.store
        first = await _begin(store)
        stores.let_pass(29)
        assert await store.idempotency.renew(REQUEST, first.at, lease_s=30)
        stores.let_pass(29)
        assert await _repeat(store) == Earlier("f")
        stores.let_pass(2)
        assert await _repeat(store, "g") == Earlier("f"), "it asks for something else"
        both = (store, stores.of_another_process())
        found = await asyncio.gather(*(_repeat(both[i % 2]) for i in range(8)))
        (second,) = [each for each in found if isinstance(each, Begun)]
        assert second.mark == first.mark
        assert not await store.idempotency.renew(REQUEST, first.at, lease_s=30)
        assert not await store.idempotency.keep(REQUEST, first.at, 201, b"", keep_s=60)
        await store.idempotency.release(REQUEST, first.at)
        assert await store.idempotency.keep(REQUEST, second.at, 201, b"", keep_s=60)

    async def test_what_is_over_is_forgotten(self, stores: Stores) -> None:
        begun = await _begin(stores.store)
        await stores.store.idempotency.keep(REQUEST, begun.at, 201, b"", keep_s=60)
        stores.let_pass(61)
        again = await _repeat(stores.store, "g")
        assert isinstance(again, Begun)
        assert again.mark == "exe_2"
        stores.let_pass(2 * 86400)
        last = await stores.store.idempotency.begin(REQUEST, "h", "exe_4", lease_s=30)
        assert isinstance(last, Begun)
        assert last.mark == "exe_4"
