"""Runs a command's coroutine: the connection to the platform, signals, errors, the exit code.

The first SIGINT, SIGTERM or SIGHUP cancels the command, which cleans up behind itself; more of them change
nothing, since the clean-up is bounded. A command that has something of its own to do with Ctrl-C (`vm exec`
passes it on) sets `Command.interrupt`.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NoReturn

import typer

from aetherium.cli.options import Common
from aetherium.cli.output import Output
from aetherium.domain.errors import AetheriumError, Unauthenticated, Unavailable

if TYPE_CHECKING:
    from aetherium.client import AsyncClient
    from aetherium.settings import Settings

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
CARRIED_OUT_NOT = 125


class Command:
    """One command that runs.

    Attributes:
        client: set while connected.
        interrupt: takes a signal instead of the cancellation; returns whether it did.
    """

    def __init__(self, settings: Settings, output: Output) -> None:
        self.settings = settings
        self.output = output
        self.interrupt: Callable[[signal.Signals], bool] | None = None
        self.cancelled_by: signal.Signals | None = None
        self._client: AsyncClient | None = None

    @property
    def client(self) -> AsyncClient:
        """The platform."""
        if self._client is None:
            raise Unavailable("This command is not connected to the platform.")
        return self._client

    async def stays(self) -> bool:
        """Whether the platform outlives this command."""
        return self.settings.url is not None or int((await self.client.health())["pid"]) != os.getpid()

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[AsyncClient]:
        """Connect to the gateway of the setting `url`, or to `aetherium up`; or be the platform oneself for
        the length of this command."""
        async with _reach(self.settings, self.output) as client:
            self._client = client
            yield client


def execute(
    ctx: typer.Context,
    work: Callable[[Command], Awaitable[int | None]],
    *,
    as_json: bool = False,
    connect: bool = True,
    fast: bool = False,
    failure: int | None = None,
) -> NoReturn:
    """Run `work` to its end and leave with its exit code, 0 for None.

    Args:
        fast: on uvloop; not for what talks to Redis, whose client does not know how uvloop's connections end.
        failure: the exit code for errors of the platform, instead of 1, for commands that mirror somebody
            else's code.
    """
    common = ctx.find_root().obj or Common()
    output = Output(as_json=as_json or common.as_json, quiet=common.quiet)
    try:
        raise typer.Exit(_run(common, output, work, connect=connect, fast=fast))
    except AetheriumError as error:
        code = output.fail(error)
        raise typer.Exit(failure if failure is not None and code == 1 else code) from None
    except BrokenPipeError:
        raise typer.Exit(128 + signal.SIGPIPE) from None


def _run(
    common: Common,
    output: Output,
    work: Callable[[Command], Awaitable[int | None]],
    *,
    connect: bool,
    fast: bool,
) -> int:
    from aetherium.settings import Settings

    given = {"data_dir": common.data_dir, "url": common.url, "project": common.project}
    settings = Settings.load(**{name: value for name, value in given.items() if value is not None})
    command = Command(settings, output)
    # An interrupt in the middle of making the loop would leave half of one; it waits for the handlers.
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    with asyncio.Runner(loop_factory=_fast_loop() if fast else None) as runner:
        return runner.run(_supervise(command, work, connect=connect))


def _fast_loop() -> Callable[[], asyncio.AbstractEventLoop]:
    """Worth its time to load for who handles many requests."""
    import uvloop

    return uvloop.new_event_loop


async def _supervise(
    command: Command, work: Callable[[Command], Awaitable[int | None]], *, connect: bool
) -> int:
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()

    def on_signal(number: signal.Signals) -> None:
        if command.interrupt is not None and command.interrupt(number):
            return
        if command.cancelled_by is None:
            command.cancelled_by = number
            if task is not None:
                task.cancel()
        else:
            command.output.note("Still cleaning up …")

    for number in _SIGNALS:
        loop.add_signal_handler(number, on_signal, number)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    try:
        if connect:
            async with command.connected():
                return await work(command) or 0
        return await work(command) or 0
    except asyncio.CancelledError:
        if command.cancelled_by is None:
            raise
        return 128 + command.cancelled_by
    except BaseExceptionGroup as group:
        raise _only(group) from None
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN)  # nothing is left to interrupt


def _only(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Of errors that came together the one that the others follow from, or the group if none is foreseen."""
    for kind in (AetheriumError, BrokenPipeError):
        found: BaseException | None = group.split(kind)[0]
        while isinstance(found, BaseExceptionGroup):
            found = found.exceptions[0]
        if found is not None:
            return found
    return group


@asynccontextmanager
async def _reach(settings: Settings, output: Output) -> AsyncIterator[AsyncClient]:
    from aetherium.client.aio import AsyncClient

    project = settings.project or ""
    if settings.url is not None:
        async with _remote(settings, settings.url, output) as client:
            yield client
        return
    if settings.socket.exists():
        async with AsyncClient.unix(settings.socket, project=project) as client:
            try:
                health = await client.health()
            except Unavailable:
                pass  # a socket that a killed `aetherium up` has left
            else:
                _compare(str(health.get("version", "")), output)
                yield client
                return
    from aetherium.bootstrap import open_gateway
    from aetherium.cli import logs

    # A command speaks for itself; what happens inside is of interest to who looks for a defect.
    logs.configure("debug" if settings.log_level == "debug" else "error")
    async with (
        open_gateway(settings, background=False) as opened,
        AsyncClient.unix(opened.socket, project=project) as client,
    ):
        yield client


@asynccontextmanager
async def _remote(settings: Settings, url: str, output: Output) -> AsyncIterator[AsyncClient]:
    from aetherium.client.aio import AsyncClient

    key = "" if settings.api_key is None else settings.api_key.get_secret_value()
    client = AsyncClient.http(url, api_key=key, project=settings.project or "", ca=settings.tls_ca)
    async with client:
        health = await client.health()
        _compare(str(health.get("version", "")), output)
        try:
            yield client
        except Unauthenticated as error:
            raise Unauthenticated(
                f"{url} does not take the key." if key else f"{url} wants an API key.",
                hint="Set AETHERIUM_API_KEY_FILE to a file with one (aetherium api-key create), or"
                " AETHERIUM_API_KEY.",
            ) from error


def _compare(version: str, output: Output) -> None:
    from aetherium import __version__

    if version != __version__:
        output.warn(
            f"The platform is of version {version or 'unknown'}, this command of {__version__}: restart"
            " `aetherium up`, or take the same version."
        )
