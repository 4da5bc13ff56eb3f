"""With the settings that nobody has changed, the failure of a worker is noticed in time."""

from __future__ import annotations

import time

from aetherium.client import AsyncClient
from aetherium.domain.tasks import TaskSpec, TaskState
from tests.faults.cluster.cluster import open_cluster
from tests.fixtures.postgres import PostgresServer
from tests.fixtures.redis import RedisServer
from tests.fixtures.waiting import eventually

NOTICED_S = 15.0


async def test_a_lost_worker_is_noticed(
    postgres_server: PostgresServer, redis_server: RedisServer, postgres_store_url: str
) -> None:
    async with (
        open_cluster(
            postgres_server,
            redis_server,
            postgres_store_url,
            gateways=1,
            orchestrators=1,
            workers=2,
            settings={},
        ) as cluster,
        AsyncClient.unix(cluster.gateways[0].data_dir / "run" / "aetherium.sock") as client,
    ):
        task = await client.tasks.submit(TaskSpec("system.noop", {"sleep_s": 1.0}))

        async def runs() -> bool:
            return (await client.tasks.get(task.id)).state is TaskState.RUNNING

        async def noticed() -> bool:
            return bool((await client.tasks.attempts(task.id))[0].error_code)

        await eventually(runs)
        holder = (await client.tasks.get(task.id)).worker_id
        (worker,) = [each for each in cluster.workers if each.identity == holder]
        await worker.kill()
        killed = time.monotonic()
        await eventually(noticed, within_s=2 * NOTICED_S)
        assert time.monotonic() - killed <= NOTICED_S
        ended = await client.tasks.wait(task.id, timeout_s=30)
        assert (ended.state, ended.attempt) == (TaskState.SUCCEEDED, 2)
        assert ended.worker_id != holder
