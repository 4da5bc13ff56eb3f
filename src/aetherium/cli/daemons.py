"""The processes of a cluster, in the foreground until SIGINT or SIGTERM."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from aetherium.cli.runtime import Command
from aetherium.settings import Settings

# Gives the facts that are shown when the process is ready.
Open = Callable[[Settings], AbstractAsyncContextManager[dict[str, str]]]


async def serve(command: Command, name: str, opened: Open) -> int:
    """Run one of them to its end. A second signal changes nothing: the end is bounded."""
    from aetherium.cli import logs

    logs.configure(command.settings.log_level)
    end = asyncio.Event()

    def interrupt(_: object) -> bool:
        if not end.is_set():
            end.set()
            command.output.note(f"The {name} ends: what runs is finished or handed back …")
        return True

    command.interrupt = interrupt
    async with opened(command.settings) as facts:
        if command.output.as_json:
            command.output.line({"status": "ready", **facts})
        else:
            told = ", ".join(f"{key} {value}" for key, value in facts.items())
            command.output.out.print(f"The {name} is ready: {told}", soft_wrap=True)
        sys.stdout.flush()
        await end.wait()
    return 0


@asynccontextmanager
async def gateway(settings: Settings) -> AsyncIterator[dict[str, str]]:
    """A gateway."""
    from aetherium.bootstrap.cluster import open_cluster_gateway

    async with open_cluster_gateway(settings) as opened:
        yield {"socket": str(opened.socket), **({"url": opened.url} if opened.url else {})}


@asynccontextmanager
async def orchestrator(settings: Settings) -> AsyncIterator[dict[str, str]]:
    """An orchestrator."""
    from aetherium.bootstrap.cluster import open_orchestrator

    async with open_orchestrator(settings) as made:
        runs = asyncio.ensure_future(made.run())
        try:
            yield {"holder": made.holder}
        finally:
            runs.cancel()
            await asyncio.gather(runs, return_exceptions=True)


@asynccontextmanager
async def worker(settings: Settings) -> AsyncIterator[dict[str, str]]:
    """A worker."""
    from aetherium.bootstrap.cluster import open_worker

    async with open_worker(settings) as platform:
        yield {"worker": await platform.work.begin(), "data": str(settings.data_dir)}
