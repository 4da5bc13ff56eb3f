"""The WorkerRepository in SQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from aetherium.domain.errors import Conflict, NotFound
from aetherium.domain.events import Event
from aetherium.domain.executions import ExecutionState
from aetherium.domain.ids import EVENT, new_id
from aetherium.domain.projects import DEFAULT_PROJECT
from aetherium.domain.vms import VM_LIFECYCLE, VMState
from aetherium.domain.workers import PRESENT, Worker, WorkerInfo, WorkerState
from aetherium.interfaces.cluster_store import WorkerRepository
from aetherium.storage import events
from aetherium.storage.codec import dump, load
from aetherium.storage.database import Database, now
from aetherium.storage.ending import lose_tasks
from aetherium.storage.finding import find_id
from aetherium.storage.tables import executions, tasks, vms, workers

_PRESENT = [str(state) for state in sorted(PRESENT)]


class SqlWorkers:
    """See interfaces/store.py."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def register(self, info: WorkerInfo, *, lease_s: float) -> Worker:
        async def work(connection: AsyncConnection) -> Worker:
            at = await now(connection, self._database)
            fresh = {
                **_described(info),
                "registered_at": at,
                "seen_at": at,
                "lease_until": self._database.moment(lease_s),
            }
            first = {"id": info.id, "state": WorkerState.ACTIVE, "incarnation": 1, "drain": False}
            again = {
                "state": sa.case((workers.c.drain, WorkerState.DRAINING), else_=WorkerState.ACTIVE),
                "incarnation": workers.c.incarnation + 1,
            }
            change = (
                self._database.insert(workers)
                .values(**first, **fresh)
                .on_conflict_do_update(index_elements=[workers.c.id], set_={**again, **fresh})
                .returning(*workers.c)
            )
            worker = _worker((await connection.execute(change)).mappings().one())
            await lose_tasks(connection, self._database, [info.id])
            await _unpark(connection)
            await _record(connection, "registered", worker, at)
            return worker

        return await self._database.write(work)

    async def heartbeat(self, info: WorkerInfo, incarnation: int, *, lease_s: float) -> Worker:
        change = (
            sa.update(workers)
            .where(
                workers.c.id == info.id,
                workers.c.incarnation == incarnation,
                workers.c.state.in_(_PRESENT),
            )
            .values(
                **_described(info),
                seen_at=self._database.moment(),
                lease_until=self._database.moment(lease_s),
            )
            .returning(*workers.c)
        )

        async def work(connection: AsyncConnection) -> Worker:
            query = sa.select(workers.c.info).where(workers.c.id == info.id)
            before = await connection.scalar(query)
            row = (await connection.execute(change)).mappings().first()
            if row is None:
                raise Conflict(
                    f"The worker {info.id} was given up, or has registered anew.", worker_id=info.id
                )
            if before is not None and _abilities(before) != _abilities(row["info"]):
                await _unpark(connection)
            return _worker(row)

        return await self._database.write(work)

    async def drain(self, ref: str, *, on: bool) -> Worker:
        async def work(connection: AsyncConnection) -> Worker:
            worker_id = await _find(connection, ref)
            became = WorkerState.DRAINING if on else WorkerState.ACTIVE
            await connection.execute(
                sa.update(workers)
                .where(workers.c.id == worker_id)
                .values(
                    drain=on,
                    state=sa.case((workers.c.state.in_(_PRESENT), became), else_=workers.c.state),
                )
            )
            await _unpark(connection)
            worker = await _get(connection, worker_id)
            at = await now(connection, self._database)
            await _record(connection, "draining" if on else "activated", worker, at)
            return worker

        return await self._database.write(work)

    async def stop(self, worker_id: str, incarnation: int) -> None:
        change = (
            sa.update(workers)
            .where(workers.c.id == worker_id, workers.c.incarnation == incarnation)
            .values(state=WorkerState.STOPPED, lease_until=self._database.moment())
            .returning(*workers.c)
        )

        async def work(connection: AsyncConnection) -> None:
            row = (await connection.execute(change)).mappings().first()
            if row is not None:
                await lose_tasks(connection, self._database, [worker_id])
                await _record(connection, "stopped", _worker(row), row["lease_until"])
            # A command's own worker never comes back.
            await connection.execute(sa.delete(workers).where(workers.c.id == worker_id, workers.c.private))

        await self._database.write(work)

    async def get(self, worker_id: str) -> Worker:
        return await self._database.read(lambda c: _get(c, worker_id))

    async def find(self, ref: str) -> Worker:
        async def work(connection: AsyncConnection) -> Worker:
            return await _get(connection, await _find(connection, ref))

        return await self._database.read(work)

    async def list(self, *, private: bool = False) -> Sequence[Worker]:
        query = sa.select(workers).order_by(workers.c.name, workers.c.id)
        if not private:
            query = query.where(~workers.c.private)

        async def work(connection: AsyncConnection) -> Sequence[Worker]:
            return [_worker(row) for row in (await connection.execute(query)).mappings()]

        return await self._database.read(work)

    async def lose(self) -> Sequence[Worker]:
        over = (workers.c.state.in_(_PRESENT), workers.c.lease_until <= self._database.moment())
        look = sa.select(workers.c.id).where(*over)
        change = sa.update(workers).where(*over).values(state=WorkerState.LOST).returning(*workers.c)

        async def work(connection: AsyncConnection) -> Sequence[Worker]:
            lost = [_worker(row) for row in (await connection.execute(change)).mappings()]
            if lost:
                await lose_tasks(connection, self._database, [worker.id for worker in lost])
                await _unpark(connection)
                at = await now(connection, self._database)
                for worker in lost:
                    await _record(connection, "lost", worker, at)
            return lost

        if await self._database.read(lambda c: c.scalar(look)) is None:
            return ()
        return await self._database.write(work)

    async def remove(self, worker_id: str) -> bool:
        async def work(connection: AsyncConnection) -> bool:
            query = sa.select(workers).where(workers.c.id == worker_id).with_for_update()
            row = (await connection.execute(query)).mappings().first()
            if row is None:
                return False
            worker = _worker(row)
            if worker.state in PRESENT:
                raise Conflict(
                    f"The worker {worker.info.name} is {worker.state}.", hint="Stop it first.", kind="worker"
                )
            at = await now(connection, self._database)
            await lose_tasks(connection, self._database, [worker_id])
            await _fail_vms(connection, worker_id, at)
            await connection.execute(sa.delete(workers).where(workers.c.id == worker_id))
            await _record(connection, "removed", worker, at)
            return True

        return await self._database.write(work)


async def _unpark(connection: AsyncConnection) -> None:
    await connection.execute(
        sa.update(tasks).where(sa.text("state = 'queued'"), tasks.c.parked == 1).values(parked=0)
    )


async def _find(connection: AsyncConnection, ref: str) -> str:
    present_first = (workers.c.state.not_in(_PRESENT), workers.c.seen_at.desc())
    return await find_id(connection, workers, "worker", ref, workers.c.name == ref, present_first)


async def _get(connection: AsyncConnection, worker_id: str) -> Worker:
    row = (await connection.execute(sa.select(workers).where(workers.c.id == worker_id))).mappings().first()
    if row is None:
        raise NotFound("worker", worker_id, hint="See: aetherium worker list")
    return _worker(row)


async def _fail_vms(connection: AsyncConnection, worker_id: str, at: datetime) -> None:
    its = sa.select(vms.c.id).where(vms.c.worker_id == worker_id)
    await connection.execute(
        sa.update(executions)
        .where(executions.c.vm_id.in_(its), executions.c.ended_at.is_(None))
        .values(state=ExecutionState.LOST, ended_at=at)
    )
    await connection.execute(
        sa.update(vms)
        .where(vms.c.worker_id == worker_id, vms.c.state.in_(sorted(VM_LIFECYCLE.before(VMState.FAILED))))
        .values(state=VMState.FAILED, reason="its worker was removed", updated_at=at)
    )


async def _record(connection: AsyncConnection, what: str, worker: Worker, at: datetime) -> None:
    if worker.info.private:
        return
    data: dict[str, object] = {"name": worker.info.name, "incarnation": worker.incarnation}
    fact = Event(new_id(EVENT), f"worker.{what}", worker.id, DEFAULT_PROJECT, at, data)
    await events.record(connection, [fact])


def _abilities(info: Mapping[str, Any]) -> tuple[object, ...]:
    return tuple(info.get(name) for name in ("drivers", "labels", "capacity", "machines"))


def _described(info: WorkerInfo) -> dict[str, Any]:
    return {"name": info.name, "private": info.private, "info": dump(info)}


def _worker(row: Mapping[Any, Any]) -> Worker:
    return Worker(
        info=load(WorkerInfo, row["info"]),
        state=WorkerState(row["state"]),
        incarnation=row["incarnation"],
        registered_at=row["registered_at"],
        seen_at=row["seen_at"],
        lease_until=row["lease_until"],
        drain=row["drain"],
    )


_: type[WorkerRepository] = SqlWorkers
