"""The client for programs without an event loop."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from aetherium.client import Client
from aetherium.domain.errors import NotFound
from aetherium.domain.executions import ExecutionSpec
from aetherium.domain.vms import VMSpec, VMState
from tests.integration.gateway.conftest import Gateway


def _use(socket: Path, directory: Path) -> None:
    with Client.unix(socket) as client:
        assert client.health()["status"] == "ok"
        assert client.doctor()
        steps: list[str] = []
        vm = client.vms.create(VMSpec(name="box"), progress=steps.append)
        assert steps
        assert [found.id for found in client.vms.list()] == [vm.id]
        _, stdout, _ = client.executions.run("box", ExecutionSpec(("echo", "hi")))
        assert stdout == b"hi\n"
        execution = client.executions.start("box", ExecutionSpec(("seq", "3")))
        output = b"".join(chunk.data for chunk in client.executions.follow(execution.id))
        assert output == b"1\n2\n3\n"
        assert client.executions.wait(execution.id).ended_at
        client.files.write("box", str(directory / "f"), b"data")
        assert client.files.read("box", str(directory / "f")) == b"data"
        assert client.files.stat("box", str(directory / "f")).size == 4
        assert client.vms.pause("box").state is VMState.PAUSED
        client.vms.delete("box")
        with pytest.raises(NotFound):
            client.vms.get("box")
        assert client.images.get("base").tags == ("base",)
        assert client.snapshots.list() == []


async def test_the_same_calls_wait(gateway: Gateway, tmp_path: Path) -> None:
    async with asyncio.timeout(60):
        await asyncio.to_thread(_use, gateway.socket, tmp_path)
