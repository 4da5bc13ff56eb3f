"""Secrets over the API."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx2
import pytest

from aetherium.client import Client
from aetherium.client.aio import AsyncClient
from aetherium.domain.errors import InvalidInput, NotFound
from aetherium.domain.executions import ExecutionSpec
from aetherium.domain.secrets import SecretScope
from aetherium.domain.vms import VM
from tests.integration.gateway.conftest import Gateway

VALUE = "open-sesame-51"


async def test_a_secret_is_set_rotated_listed_and_deleted(client: AsyncClient) -> None:
    first = await client.secrets.set("TOKEN", "one")
    assert (first.name, first.version, first.scope, first.updated_by) == (
        "TOKEN",
        1,
        SecretScope.PROJECT,
        "local",
    )
    second = await client.secrets.set("TOKEN", "two")
    assert (second.id, second.version) == (first.id, 2)
    other = await client.secrets.set("TOKEN", "x", scope=SecretScope.IMAGE, target="registry.example/a:1")
    assert await client.secrets.list() == [other, second]
    assert await client.secrets.get("TOKEN") == second
    assert (await client.secrets.rotate_key()).wrapped == 2
    assert (await client.secrets.rotate_key(master=True)).remastered == 0
    await client.secrets.delete("TOKEN", scope=SecretScope.IMAGE, target="registry.example/a:1")
    assert await client.secrets.list() == [second]
    await client.secrets.delete("TOKEN")
    with pytest.raises(NotFound, match="TOKEN"):
        await client.secrets.get("TOKEN")


async def test_an_execution_asks_by_name(client: AsyncClient, vm: VM) -> None:
    await client.secrets.set("TOKEN", VALUE)
    asks = ExecutionSpec(("sh", "-c", 'echo "$TOKEN ${#TOKEN}"'), secret_names=("TOKEN",))
    execution, out, _ = await client.executions.run(vm.id, asks)
    assert out == b"************** 14\n"
    assert execution.secret_names == ("TOKEN",)
    with pytest.raises(NotFound, match="'LOST'"):
        await client.executions.run(vm.id, ExecutionSpec(("true",), secret_names=("LOST",)))
    with pytest.raises(InvalidInput, match="'lower'"):
        await client.secrets.set("lower", VALUE)


async def test_no_answer_has_a_value(gateway: Gateway) -> None:
    transport = httpx2.AsyncHTTPTransport(uds=str(gateway.socket))
    async with httpx2.AsyncClient(transport=transport, base_url="http://aetherium") as http:
        place = "/v1/secrets/TOKEN"
        answers = [
            await http.put(place, json={"value": VALUE}),
            await http.put(place, json={"value": VALUE}),
            await http.get(place),
            await http.get("/v1/secrets"),
            await http.put(place, json={"value": [VALUE]}),
            await http.put(place, json={"value": VALUE, "valeu": VALUE}),
            await http.put(place, json={"value": VALUE + "\0"}),
            await http.put(
                place, content=f'{{"value": "{VALUE}'.encode(), headers={"content-type": "application/json"}
            ),
            await http.put(place, json={"value": VALUE * 5000}),
            await http.put(f"{place}?scope=image", json={"value": VALUE}),
            await http.put(f"{place}?scope=all", json={"value": VALUE}),
            await http.put("/v1/secrets/a b", json={"value": VALUE}),
            await http.post(place, json={"value": VALUE}),
        ]
    assert [answer.status_code for answer in answers] == [201, 200, 200, 200, *[422] * 8, 405]
    assert not [answer.text for answer in answers if VALUE in answer.text]


async def test_the_client_without_a_loop(gateway: Gateway) -> None:
    def use(socket: Path) -> None:
        with Client.unix(socket) as client:
            made = client.secrets.set("TOKEN", VALUE, scope=SecretScope.JOB, target="nightly")
            assert client.secrets.list() == [made]
            assert client.secrets.get("TOKEN", scope=SecretScope.JOB, target="nightly") == made
            assert client.secrets.rotate_key().wrapped == 1
            client.secrets.delete("TOKEN", scope=SecretScope.JOB, target="nightly")
            assert client.secrets.list() == []

    await asyncio.to_thread(use, gateway.socket)
