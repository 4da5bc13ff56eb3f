"""What a store has to do for lists: filters, and both orders in pages."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from aetherium.domain.ids import new_id
from aetherium.interfaces.store import Store
from tests.contract.store.databases import Stores
from tests.contract.store.values import BEGIN, a_job, accepted

LABELS = {"team": "web", "a.b/c-d": 'it\'s "x"'}


class ListingContract:
    """Mixed into StoreContract."""

    async def test_jobs_are_filtered(self, store: Store) -> None:
        names = ("check", "check-all", "che%k")
        jobs = []
        for hour, name in enumerate(names):
            spec = replace(a_job().spec, name=name, labels=LABELS if hour else {"team": "web"})
            jobs.append(
                replace(a_job(), id=new_id("job"), spec=spec, created_at=BEGIN + timedelta(hours=hour))
            )
            await store.jobs.add(jobs[-1])
        ids = sorted(job.id for job in jobs)
        first, second, third = (job.id for job in jobs)

        async def found(**where: object) -> set[str]:
            return {job.id for job in await store.jobs.list(**where)}  # type: ignore[arg-type]  # the test's own

        assert await found(name="check") == {first, second}
        assert await found(name="che%") == {third}
        assert await found(labels={"team": "web"}) == set(ids)
        assert await found(labels=LABELS) == {second, third}
        assert await found(labels={"team": "we"}) == set()
        assert await found(created_after=jobs[1].created_at) == {second, third}
        assert await found(created_before=jobs[1].created_at) == {first}
        assert [job.id for job in await store.jobs.list(oldest_first=True)] == ids
        page = await store.jobs.list(oldest_first=True, before=ids[0], limit=1)
        assert [job.id for job in page] == [ids[1]]

    async def test_tasks_are_filtered(self, stores: Stores) -> None:
        store = stores.store
        first = await accepted(store, labels={"team": "web"})
        stores.let_pass(3600)
        second = await accepted(store, labels=LABELS)

        async def found(**where: object) -> list[str]:
            return [task.id for task in await store.tasks.list(**where)]  # type: ignore[arg-type]  # as above

        assert await found(labels=LABELS) == [second.id]
        assert await found(labels={"none": ""}) == []
        assert await found(created_after=second.created_at) == [second.id]
        assert await found(created_before=second.created_at) == [first.id]
        ids = sorted((first.id, second.id))
        assert await found(labels={"team": "web"}, oldest_first=True) == ids
        assert await found(oldest_first=True, before=ids[0]) == ids[1:]
        assert sum((await store.tasks.count(labels=LABELS)).values()) == 1
