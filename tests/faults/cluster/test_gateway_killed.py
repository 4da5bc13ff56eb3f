"""A gateway of a cluster is killed in the middle of requests: what they were about is done once, or not at
all."""

from __future__ import annotations

from pathlib import Path

from tests.faults.cluster.cluster import Cluster
from tests.faults.interrupted import Victim, interrupt


async def test_requests_outlive_a_gateway(cluster: Cluster, tmp_path: Path) -> None:
    gateway = cluster.gateways[0]

    async def again() -> None:
        await gateway.kill()
        await gateway.start()

    await interrupt(Victim(gateway.data_dir / "run" / "aetherium.sock", again), tmp_path)
