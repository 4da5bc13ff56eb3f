"""The VMRepository in SQL."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar, Unpack

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from aetherium.domain.errors import AlreadyExists, InvalidTransition, NotFound
from aetherium.domain.vms import VM, VM_LIFECYCLE, VMSpec, VMState
from aetherium.interfaces.clock import Clock
from aetherium.interfaces.store import VMFields, VMRepository
from aetherium.storage.codec import dump, load
from aetherium.storage.database import Database
from aetherium.storage.finding import find_id
from aetherium.storage.scope import EVERYTHING, Scope, seen, stamped
from aetherium.storage.tables import vms

T = TypeVar("T")

_ENDED = (VMState.STOPPED, VMState.FAILED)


class SqlVMs:
    """See interfaces/store.py."""

    def __init__(self, database: Database, clock: Clock, scope: Scope = EVERYTHING) -> None:
        self._database = database
        self._clock = clock
        self._scope = scope
        self._seen = seen(vms, scope)
        # Made once: SQLAlchemy takes longer to recognise a statement than SQLite to carry it out.
        ref: sa.BindParameter[str] = sa.bindparam("ref")
        self._exact = sa.select(vms).where(sa.or_(vms.c.id == ref, vms.c.name == ref), self._seen)
        self._one = sa.select(vms).where(vms.c.id == ref, self._seen)

    async def add(self, vm: VM) -> None:
        row = stamped(_values(vm), self._scope)
        await self._named(vm.spec.name, lambda c: c.execute(sa.insert(vms).values(row)))

    async def get(self, vm_id: str) -> VM:
        return await self._database.read(lambda c: self._get(c, vm_id))

    async def find(self, ref: str) -> VM:
        living_first = (vms.c.state.in_(_ENDED), vms.c.created_at.desc())

        async def work(connection: AsyncConnection) -> VM:
            # One query where one does: this is done for every command that is run.
            rows = (await connection.execute(self._exact, {"ref": ref})).mappings().all()
            if len(rows) == 1:
                return _vm(rows[0])
            vm_id = await find_id(
                connection, vms, "VM", ref, vms.c.name == ref, living_first, among=self._seen
            )
            return await self._get(connection, vm_id)

        return await self._database.read(work)

    async def list(
        self, *, states: Collection[VMState] = (), labels: Mapping[str, str] | None = None
    ) -> Sequence[VM]:
        query = sa.select(vms).where(self._seen).order_by(vms.c.created_at.desc(), vms.c.id.desc())
        if states:
            query = query.where(vms.c.state.in_(list(states)))

        async def work(connection: AsyncConnection) -> Sequence[VM]:
            found = [_vm(row) for row in (await connection.execute(query)).mappings()]
            wanted = (labels or {}).items()
            return [vm for vm in found if wanted <= vm.spec.labels.items()]

        return await self._database.read(work)

    async def transition(
        self, vm_id: str, to: VMState, *, only_from: Collection[VMState] = (), **fields: Unpack[VMFields]
    ) -> VM:
        allowed = VM_LIFECYCLE.before(to)
        guard = allowed & frozenset(only_from) if only_from else allowed
        change = (
            sa.update(vms)
            .where(vms.c.id == vm_id, vms.c.state.in_(sorted(guard)), self._seen)
            .values(state=to, updated_at=self._clock.now(), **fields)
            .returning(*vms.c)
        )

        async def work(connection: AsyncConnection) -> VM:
            row = (await connection.execute(change)).mappings().first()
            if row is not None:
                return _vm(row)
            vm = await self._get(connection, vm_id)
            VM_LIFECYCLE.check(vm.state, to, vm_id)
            raise InvalidTransition(
                f"VM {vm_id} is {vm.state} and does not become {to} from there.",
                kind="VM",
                current=str(vm.state),
                wanted=str(to),
            )

        return await self._database.write(work)

    async def edit(self, vm_id: str, change: Callable[[VM], VM]) -> VM:
        async def work(connection: AsyncConnection) -> VM:
            before = await self._get(connection, vm_id, lock=True)
            after = replace(
                change(before),
                id=vm_id,
                state=before.state,
                created_at=before.created_at,
                worker_id=before.worker_id,
                updated_at=self._clock.now(),
            )
            await connection.execute(sa.update(vms).where(vms.c.id == vm_id).values(_values(after)))
            return after

        return await self._named(None, work)

    async def claim(
        self, vm_id: str, *, owner: str, spec: VMSpec, project: str, heir: str | None, at: datetime
    ) -> VM | None:
        change = (
            sa.update(vms)
            .where(vms.c.id == vm_id, vms.c.owner == owner, vms.c.state == VMState.RUNNING, self._seen)
            .values(
                **_of_spec(spec),
                owner=heir,
                project_id=project,
                created_at=at,
                updated_at=at,
                last_active_at=at,
            )
            .returning(*vms.c)
        )

        async def work(connection: AsyncConnection) -> VM | None:
            row = (await connection.execute(change)).mappings().first()
            return None if row is None else _vm(row)

        return await self._named(spec.name, work)

    async def touch(self, active: Mapping[str, datetime]) -> None:
        change = (
            sa.update(vms)
            .where(vms.c.id == sa.bindparam("vm"), vms.c.last_active_at < sa.bindparam("at"), self._seen)
            .values(last_active_at=sa.bindparam("at"))
        )
        # In one order, so that of two that do this none waits for the other.
        rows = [{"vm": vm_id, "at": at} for vm_id, at in sorted(active.items())]
        if rows:
            await self._database.write(lambda c: c.execute(change, rows))

    async def remove(self, vm_id: str) -> bool:
        change = sa.delete(vms).where(vms.c.id == vm_id, self._seen)
        return (await self._database.write(lambda c: c.execute(change))).rowcount > 0

    async def _get(self, connection: AsyncConnection, vm_id: str, *, lock: bool = False) -> VM:
        # SQLite has the lock already and ignores what asks for it.
        query = self._one.with_for_update() if lock else self._one
        row = (await connection.execute(query, {"ref": vm_id})).mappings().first()
        if row is None:
            raise NotFound("VM", vm_id)
        return _vm(row)

    async def _named(self, name: str | None, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        try:
            return await self._database.write(work)
        except IntegrityError as error:
            raise AlreadyExists(
                f"There is a VM named {name!r} already." if name else "There is such a VM already.",
                hint="Choose another name, or delete that VM.",
                name=name,
            ) from error


def _vm(row: Mapping[Any, Any]) -> VM:
    return VM(
        id=row["id"],
        spec=load(VMSpec, row["spec"]),
        state=VMState(row["state"]),
        driver=row["driver"],
        image_digest=row["image_digest"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        last_active_at=row["last_active_at"],
        snapshot_id=row["snapshot_id"],
        handle=row["handle"],
        reason=row["reason"],
        owner=row["owner"],
        worker_id=row["worker_id"],
        project_id=row["project_id"],
    )


def _values(vm: VM) -> dict[str, Any]:
    return {
        "id": vm.id,
        "state": vm.state,
        "driver": vm.driver,
        "image_digest": vm.image_digest,
        "owner": vm.owner,
        "worker_id": vm.worker_id,
        "project_id": vm.project_id,
        "snapshot_id": vm.snapshot_id,
        "reason": vm.reason,
        "created_at": vm.created_at,
        "updated_at": vm.updated_at,
        "last_active_at": vm.last_active_at,
        "handle": None if vm.handle is None else dict(vm.handle),
        **_of_spec(vm.spec),
    }


def _of_spec(spec: VMSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "vcpus": spec.resources.vcpus,
        "memory_mib": spec.resources.memory_mib,
        "disk_mib": spec.resources.disk_mib,
        "spec": dump(spec),
    }


_: type[VMRepository] = SqlVMs
