"""The LeaderRepository in SQL: a lease with a number that grows with each change of hands."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from aetherium.domain.errors import Conflict
from aetherium.interfaces.cluster_store import LeaderRepository
from aetherium.interfaces.task_store import LeaderEpoch
from aetherium.storage.database import Database
from aetherium.storage.tables import leaders

# Gives a row if an epoch is the present one; it stays so until this transaction ends. That its lease may have
# run out does not matter as long as nobody has taken over. Its parameters: `naming`.
PRESENT = (
    sa.select(leaders.c.number)
    .where(
        leaders.c.name == sa.bindparam("epoch_name"),
        leaders.c.number == sa.bindparam("epoch_number"),
        leaders.c.holder == sa.bindparam("epoch_holder"),
    )
    .with_for_update(read=True)
)


def naming(epoch: LeaderEpoch) -> dict[str, object]:
    """The parameters of PRESENT."""
    return {"epoch_name": epoch.name, "epoch_number": epoch.number, "epoch_holder": epoch.holder}


async def require(connection: AsyncConnection, epoch: LeaderEpoch) -> None:
    """Raise Conflict unless `epoch` is the present one."""
    if await connection.scalar(PRESENT, naming(epoch)) is None:
        raise Conflict(f"{epoch.holder} leads {epoch.name} no longer.", epoch=epoch.number)


class SqlLeaders:
    """See interfaces/store.py."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def lead(self, name: str, holder: str, *, lease_s: float) -> LeaderEpoch | None:
        moment = self._database.moment
        mine = leaders.c.holder == holder
        change = (
            sa.update(leaders)
            .where(leaders.c.name == name, sa.or_(mine, leaders.c.lease_until <= moment()))
            .values(
                holder=holder,
                number=leaders.c.number + sa.case((mine, 0), else_=1),
                lease_until=moment(lease_s),
            )
            .returning(leaders.c.number)
        )

        async def work(connection: AsyncConnection) -> int | None:
            number = await connection.scalar(change)
            if number is not None:
                return int(number)
            if await connection.scalar(sa.select(leaders.c.name).where(leaders.c.name == name)) is not None:
                return None
            await connection.execute(
                sa.insert(leaders).values(name=name, holder=holder, number=1, lease_until=moment(lease_s))
            )
            return 1

        try:
            number = await self._database.write(work)
        except IntegrityError:  # another one was the first
            return None
        return None if number is None else LeaderEpoch(name, holder, number)

    async def resign(self, epoch: LeaderEpoch) -> None:
        # The holder goes too: should it come back, that is a new epoch.
        change = (
            sa.update(leaders)
            .where(
                leaders.c.name == epoch.name,
                leaders.c.holder == epoch.holder,
                leaders.c.number == epoch.number,
            )
            .values(holder="", lease_until=self._database.moment())
        )
        await self._database.write(lambda c: c.execute(change))


_: type[LeaderRepository] = SqlLeaders
