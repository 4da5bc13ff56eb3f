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

    from aetherium.bootstrap import Opened

app = typer.Typer(context_settings=HELP, rich_markup_mode="rich", add_completion=False)

_EPILOG = (
    "Examples:\n\naetherium up\naetherium up --check --wait 30\naetherium up --listen none\n"
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
    listen: Annotated[
        str | None,
        typer.Option(
            "--listen",
            metavar="HOST:PORT",
            help="Serve there too, for who has a key; none: nowhere. [default: 127.0.0.1:7777]",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Serve the platform on a Unix socket and a TCP port, in the foreground."""

    async def work(command: Command) -> int | None:
        if check:
            return await _check(command, wait)
        return await _serve(command, listen)

    execute(ctx, work, as_json=as_json, connect=False, fast=True)


async def _serve(command: Command, listen: str | None) -> int:
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
    settings = command.settings
    if listen is not None:
        settings = settings.model_copy(update={"listen": listen})
    async with open_gateway(settings, background=True) as opened:
        _tell(command, opened)
        sys.stdout.flush()
        await end.wait()
    return 0


def _tell(command: Command, opened: Opened) -> None:
    """Say where it is reached; the first key is seen here and nowhere else."""
    data_dir = str(command.settings.data_dir)
    if command.output.as_json:
        facts = {"status": "ready", "socket": str(opened.socket), "data_dir": data_dir}
        more = {"url": opened.url, "first_key": opened.first_key}
        command.output.line({**facts, **{name: value for name, value in more.items() if value}})
        return
    lines = [f"Aetherium listens at {opened.socket}"]
    if opened.url:
        lines.append(f"           and at {opened.url}")
    if opened.first_key:
        lines += [
            "",
            "The first API key. It may do everything, and is not shown again:",
            "",
            f"    {opened.first_key}",
            "",
        ]
    for line in lines:
        command.output.out.print(line, soft_wrap=True, markup=False)
    command.output.note(f"Data: {data_dir}. Ctrl-C ends it.")


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
