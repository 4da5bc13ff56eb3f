"""A gateway gives stored secrets to executions on its workers."""

from __future__ import annotations

import pytest

from aetherium.domain.errors import NotFound
from aetherium.domain.secrets import SecretRef, SecretScope
from aetherium.services.secrets.database import DatabaseSecrets
from aetherium.services.secrets.envelope import MasterKeys
from tests.fixtures.secrets import MASTER
from tests.integration.rpc.conftest import Cluster, sh
from tests.integration.rpc.test_executions import read_all

VALUE = "open-sesame-51"
MASKED = b"*" * len(VALUE) + b" 14\n"


@pytest.fixture
async def secrets(cluster: Cluster) -> DatabaseSecrets:
    secrets = DatabaseSecrets(cluster.worker.host.store, MasterKeys(MASTER))
    await secrets.set(SecretRef("default", "TOKEN", SecretScope.IMAGE, "base"), VALUE, by="")
    return secrets


async def test_every_way_to_run_gives_them(cluster: Cluster, secrets: DatabaseSecrets) -> None:
    executions, asks = cluster.remote.executions, sh('echo "$TOKEN ${#TOKEN}"', secret_names=("TOKEN",))
    execution, out, _ = await executions.run("box", asks)
    assert out == MASKED
    assert execution.secret_names == ("TOKEN",)
    assert VALUE not in repr(await executions.get(execution.id))
    async with executions.launch("box", asks) as (_, attachment):
        assert MASKED in (await read_all(attachment)).values()
    started = await executions.start("box", asks)
    async with executions.attach(started.id) as attachment:
        assert MASKED in (await read_all(attachment)).values()
    (used,) = await secrets.list("default")
    assert used.used_at is not None


async def test_a_missing_one_is_named(cluster: Cluster) -> None:
    executions, asks = cluster.remote.executions, sh("true", secret_names=("TOKEN",))
    with pytest.raises(NotFound, match="TOKEN"):
        await executions.run("box", asks)
    with pytest.raises(NotFound, match="TOKEN"):
        await executions.start("box", asks)
    assert await executions.list("box") == []


async def test_a_cut_connection_does_not_give_them_twice(cluster: Cluster, secrets: DatabaseSecrets) -> None:
    asks = sh('echo "$TOKEN ${#TOKEN}"; read x; echo "$x $TOKEN"', secret_names=("TOKEN",), stdin=True)
    async with cluster.remote.executions.launch("box", asks) as (execution, attachment):
        cluster.proxy.cut()
        await attachment.write_stdin(b"on\n")
        output = b"".join((await read_all(attachment)).values())
    assert output == MASKED + b"on " + b"*" * len(VALUE) + b"\n"
    assert [found.id for found in await cluster.remote.executions.list("box")] == [execution.id]
