"""BullMQ's scripts, many in one round trip.

BullMQ is a set of Lua scripts in Redis, and its Python classes run one in each round trip. Here these classes
only write their calls down (keys and arguments stay BullMQ's business), and all calls go together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bullmq.redis_connection import RedisConnection  # type: ignore[import-untyped]
from bullmq.scripts import Scripts  # type: ignore[import-untyped]
from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from aetherium.queue.redis_client import answering


@dataclass(frozen=True, slots=True)
class _Call:
    script: str | None
    words: tuple[Any, ...]


class Calls:
    """Calls for one lane, in order: BullMQ's (through `scripts`) and Redis's own (`command`)."""

    # To `Scripts` this is a connection, with a client and with commands by name.
    conn = None

    def __init__(self, prefix: str, lane: str) -> None:
        self.made: list[_Call] = []
        self.commands = _Commands(self.made)
        self.scripts = Scripts(prefix, lane, self)

    def command(self, *words: str | int) -> None:
        """A command of Redis."""
        self.made.append(_Call(None, words))


class _Commands:
    """Commands that are written down, and answer nothing."""

    def __init__(self, made: list[_Call]) -> None:
        self._made = made

    def __getitem__(self, name: str) -> Any:
        async def record(keys: Sequence[str], args: Sequence[Any], client: object = None) -> None:
            self._made.append(_Call(name, (len(keys), *keys, *args)))

        return record


class Engine:
    """Runs calls at a client of Redis."""

    def __init__(self, client: Redis, prefix: str) -> None:
        self._client = client
        self._prefix = prefix
        self._scripts: Mapping[str, Any] = RedisConnection(client).commands

    def calls(self, lane: str) -> Calls:
        """None yet, for that lane."""
        return Calls(self._prefix, lane)

    async def run(self, calls: Calls) -> list[Any]:
        """All of them in one round trip; their answers. Raises Unavailable."""
        async with answering():
            answers = await self._send(calls.made)
            unknown = [index for index, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
            if unknown:  # Redis has started again
                again = [calls.made[index] for index in unknown]
                for name in {call.script for call in again if call.script is not None}:
                    await self._client.script_load(self._scripts[name].script)
                for index, answer in zip(unknown, await self._send(again), strict=True):
                    answers[index] = answer
            for answer in answers:
                if isinstance(answer, Exception):
                    raise answer
            return answers

    async def _send(self, calls: Sequence[_Call]) -> list[Any]:
        async with self._client.pipeline(transaction=False) as pipe:
            for call in calls:
                if call.script is None:
                    pipe.execute_command(*call.words)
                else:
                    pipe.execute_command("EVALSHA", self._scripts[call.script].sha, *call.words)
            return await pipe.execute(raise_on_error=False)
