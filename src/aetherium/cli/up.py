"""``aetherium up``."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from aetherium.cli.options import HELP, Json
from aetherium.cli.runtime import Command, execute
from aetherium.domain.errors import Unavailable

if TYPE_CHECKING:
    from rich.console import Console

app = typer.Typer(context_settings=HELP, rich_markup_mode="rich", add_completion=False)

_EPILOG = (
    "Examples:\n\naetherium up\naetherium up --check --wait 30\n"
    "aetherium --data-dir /srv/aetherium up\n\n"
    "Ctrl-C or SIGTERM ends it: VMs go on running, jobs wait for the next one."
)
# How often a socket that is not there yet is looked for; connecting is the only way to know.
_RETRY_S = 0.1


@app.command(epilog=_EPILOG)
def up(
    ctx: typer.Context,
    check: Annotated[
        bool, typer.Option("--check", help="Only tell whether it runs: exit code 0 or 1.")
    ] = False,
    wait: Annotated[
        float, typer.Option("--wait", metavar="SECONDS", min=0, help="With --check: wait for it this long.")
    ] = 0.0,
    as_json: Json = False,
) -> None:
    """Serve the platform on a Unix socket, in the foreground."""

    async def work(command: Command) -> int | None:
        if check:
            return await _check(command, wait)
        return await _serve(command)

    execute(ctx, work, as_json=as_json, connect=False)


async def _serve(command: Command) -> int:
    from aetherium.bootstrap import open_gateway
    from aetherium.cli import logs

    logs.configure(command.settings.log_level)
    end = asyncio.Event()
    forced = False

    def interrupt(_: object) -> bool:
        nonlocal forced
        if not end.is_set():
            end.set()
            command.output.note("Shutting down: requests end, jobs are handed back, VMs go on …")
            return True
        return forced

    command.interrupt = interrupt
    async with open_gateway(command.settings, background=True) as socket:
        facts = {"status": "ready", "socket": str(socket), "data_dir": str(command.settings.data_dir)}
        if command.output.as_json:
            command.output.line(facts)
        else:
            command.output.out.print(f"Aetherium listens at {socket}", soft_wrap=True)
            command.output.note(f"Data: {command.settings.data_dir}. Ctrl-C ends it.")
        sys.stdout.flush()
        await end.wait()
    return 0


async def _check(command: Command, wait: float) -> int:
    from aetherium.client.aio import AsyncClient

    socket = command.settings.socket
    deadline = asyncio.get_running_loop().time() + wait
    while True:
        try:
            async with AsyncClient.unix(socket) as client:
                health = await client.health()
        except Unavailable:
            if asyncio.get_running_loop().time() >= deadline:
                raise
            await asyncio.sleep(_RETRY_S)
            continue
        text = f"Aetherium {health['version']} listens at {socket} (pid {health['pid']})"
        command.output.show(health, _printing(text))
        return 0


def _printing(text: str) -> Callable[[Console], None]:
    return lambda console: console.print(text, soft_wrap=True)
