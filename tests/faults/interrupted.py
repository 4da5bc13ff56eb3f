"""What a gateway is killed in the middle of: an upload, the output of a command, a command, the making of a
VM."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from aetherium.client import AsyncClient
from aetherium.client.retries import RetryPolicy
from aetherium.domain.errors import AetheriumError
from aetherium.domain.executions import ExecutionSpec
from aetherium.domain.guest import OutputStream
from tests.fixtures.waiting import eventually
from tests.integration.gateway.raw import http

SEED = int(os.environ.get("AETHERIUM_TEST_SEED") or random.randrange(1 << 32))
TURNS = 3
_LINES = 400
_PIECES, _PIECE = 64, 64 * 1024
# Beyond the lease of a request whose gateway was killed.
_PATIENT_S = 60.0
_RETRY = RetryPolicy(attempts=100, deadline_s=_PATIENT_S)


@dataclass(frozen=True, slots=True)
class Victim:
    """A gateway.

    Args:
        again: kill it, and start it again.
    """

    socket: Path
    again: Callable[[], Awaitable[None]]


@dataclass(slots=True)
class Turn:
    """What one life of the gateway is in the middle of.

    Args:
        directory: of the guest, which is this host.
        traces: the file that commands leave theirs in.
    """

    number: int
    socket: Path
    directory: Path
    traces: Path
    uploaded: bool = False
    text: bytes = b""
    made: set[str] = field(default_factory=set)

    async def upload(self) -> None:
        """Replace a file by a larger one."""
        async with AsyncClient.unix(self.socket, retry=None) as client:
            await client.files.write("box", str(self.directory / "file"), _slowly(self.content))
        self.uploaded = True

    async def follow(self, execution_id: str, retry: RetryPolicy | None = None) -> None:
        """Read a command's output behind what is known of it."""
        async with (
            AsyncClient.unix(self.socket, retry=retry) as client,
            client.executions.follow(execution_id, stdout_offset=len(self.text)) as output,
        ):
            async for piece in output:
                if piece.stream is OutputStream.STDOUT:
                    assert piece.offset == len(self.text), "a gap, or a repeat"
                    self.text += piece.data

    async def run(self) -> bool:
        """Run a command that leaves a trace, unless an earlier request has; whether there is an answer."""
        script = f"echo {self.number} >> {self.traces}; sleep 0.5; echo done"
        async with http(self.socket) as client:
            answer = await client.post(
                "/v1/vms/box/executions",
                json={"argv": ["sh", "-c", script]},
                headers={"idempotency-key": f"command {self.number}"},
                timeout=_PATIENT_S,
            )
        if answer.status_code == 200:
            assert answer.json()["stdout"] == {"text": "done\n"}
            return True
        assert answer.json()["retryable"], answer.text
        return False

    async def create(self) -> bool:
        """Make a VM, unless an earlier request has made it; whether there is an answer."""
        async with http(self.socket) as client:
            answer = await client.post(
                "/v1/vms",
                json={"labels": {"turn": str(self.number)}},
                headers={"idempotency-key": f"turn {self.number}"},
                timeout=_PATIENT_S,
            )
        if answer.status_code == 201:
            self.made.add(answer.json()["id"])
            return True
        assert answer.json()["retryable"], answer.text
        return False

    @property
    def content(self) -> bytes:
        """Of the file."""
        return bytes([self.number + 1]) * (_PIECES * _PIECE)


async def interrupt(victim: Victim, directory: Path) -> None:
    """Kill it again and again in the middle of all that; nothing is lost, and nothing is there twice."""
    print(f"AETHERIUM_TEST_SEED={SEED}")
    chance = random.Random(SEED)
    place, traces = directory / "place", directory / "traces"
    place.mkdir()
    file = place / "file"
    file.write_bytes(b"before")
    async with AsyncClient.unix(victim.socket, retry=_RETRY) as client:
        await client.vms.create(name="box")
        content = b"before"
        for number in range(TURNS):
            turn = Turn(number, victim.socket, place, traces)
            script = f"for i in $(seq {_LINES}); do echo line $i; sleep 0.005; done"
            execution = await client.executions.start("box", ExecutionSpec(("sh", "-c", script)))
            calls = asyncio.gather(
                turn.upload(), turn.follow(execution.id), turn.create(), turn.run(), return_exceptions=True
            )
            await asyncio.wait([calls], timeout=chance.uniform(0.05, 1.5))
            await victim.again()
            for result in await calls:
                assert not isinstance(result, BaseException) or _is_cut(result), result

            found = file.read_bytes()
            assert found in ((turn.content,) if turn.uploaded else (content, turn.content))
            content = found
            await eventually(lambda: _is_alone(file))
            await turn.follow(execution.id, _RETRY)
            assert turn.text.decode().splitlines() == [f"line {i + 1}" for i in range(_LINES)]
            await eventually(turn.create, within_s=_PATIENT_S)
            await eventually(turn.run, within_s=_PATIENT_S)
            assert traces.read_text().split() == [str(each) for each in range(number + 1)]
            there = await client.vms.list(labels={"turn": str(number)})
            assert len(there) == 1
            assert turn.made == {there[0].id}


async def interrupt_copies(victim: Victim) -> None:
    """Kill it again and again while a VM is forked and a snapshot is taken, by requests that are repeated
    until they are answered: in the end there is what the answers say, and nothing else."""
    print(f"AETHERIUM_TEST_SEED={SEED}")
    chance = random.Random(SEED)
    async with AsyncClient.unix(victim.socket, retry=_RETRY) as client:
        box = (await client.vms.create()).id
        vms, snapshots = {box}, set[str]()

        async def only_those() -> bool:
            found = {vm.id for vm in await client.vms.list()}
            taken = {each.id for each in await client.snapshots.list()}
            return (found, taken) == (vms, snapshots)

        for number in range(TURNS):
            calls = asyncio.gather(
                _answer(victim, f"/v1/vms/{box}/fork", {"count": 2}, f"fork {number}"),
                _answer(victim, f"/v1/vms/{box}/snapshots", {}, f"snapshot {number}"),
            )
            await asyncio.wait([calls], timeout=chance.uniform(0.02, 1.0))
            await victim.again()
            forks, snapshot = await calls
            vms |= {each["id"] for each in forks}
            snapshots.add(snapshot["id"])
            await eventually(only_those, within_s=_PATIENT_S)
        assert (len(vms), len(snapshots)) == (1 + 2 * TURNS, TURNS)
        for vm in vms:
            _, out, _ = await client.executions.run(vm, ExecutionSpec(("echo", "hi")))
            assert out == b"hi\n"


async def _answer(victim: Victim, path: str, body: dict[str, Any], key: str) -> Any:
    """Of a request, whatever happens to who is asked."""
    async with asyncio.timeout(2 * _PATIENT_S):
        while True:
            try:
                async with http(victim.socket) as client:
                    answer = await client.post(
                        path, json=body, headers={"idempotency-key": key}, timeout=_PATIENT_S
                    )
            except httpx2.TransportError:
                await asyncio.sleep(0.2)
                continue
            if answer.status_code == 201:
                return answer.json()
            assert answer.json()["retryable"], answer.text
            await asyncio.sleep(0.5)


def _is_cut(error: BaseException) -> bool:
    return isinstance(error, httpx2.TransportError) or (isinstance(error, AetheriumError) and error.retryable)


async def _is_alone(file: Path) -> bool:
    """Nothing of uploads that were cut is left beside it."""
    return [path.name for path in file.parent.iterdir()] == [file.name]


async def _slowly(content: bytes) -> AsyncIterator[bytes]:
    for begin in range(0, len(content), _PIECE):
        yield content[begin : begin + _PIECE]
        await asyncio.sleep(0.01)
