"""``aetherium vm exec`` and ``aetherium vm shell``."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aetherium.cli import options
from aetherium.cli.options import Json, Ref
from aetherium.cli.runtime import CARRIED_OUT_NOT, Command, execute
from aetherium.cli.tail import TailCommand
from aetherium.domain.errors import AetheriumError, InvalidInput

if TYPE_CHECKING:
    from aetherium.client.interactive import Session
    from aetherium.domain.executions import Execution, ExecutionResult, ExecutionSpec
    from aetherium.domain.guest import OutputChunk

_LEAVE = b"\x1d"  # Ctrl-], as in telnet
_LOGIN = 'if command -v bash >/dev/null 2>&1; then exec bash -l; else exec "${SHELL:-/bin/sh}" -l; fi'


def register(app: typer.Typer) -> None:
    """Add the commands to the group."""
    app.command(
        "exec",
        cls=TailCommand,
        epilog="Examples:\n\naetherium vm exec box -- uname -a\naetherium vm exec -it box -- python3\n"
        "tar c . | aetherium vm exec -i box -- tar x -C /tmp\naetherium vm exec -d box -- ./server",
    )(exec_)
    app.command("shell", epilog="Example:\n\naetherium vm shell box\n\nCtrl-] leaves a session that hangs.")(
        shell
    )


def exec_(
    ctx: typer.Context,
    ref: Ref,
    argv: Annotated[
        list[str] | None, typer.Argument(metavar="-- COMMAND...", help="Program, arguments.")
    ] = None,
    interactive: Annotated[bool, typer.Option("--interactive", "-i", help="Pass stdin on.")] = False,
    tty: Annotated[bool, typer.Option("--tty", "-t", help="In a terminal.")] = False,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="In the background; print its id.")] = False,
    env: options.Env = None,
    secret: options.Secret = None,
    stored_secret: options.StoredSecret = None,
    cwd: Annotated[str | None, typer.Option("--cwd", "-w", metavar="DIR", help="In the guest.")] = None,
    user: Annotated[str | None, typer.Option("--user", "-u", metavar="NAME", help="Name or uid.")] = None,
    timeout: Annotated[str | None, typer.Option("--timeout", metavar="TIME", help="30s, 10m …")] = None,
    as_json: Json = False,
) -> None:
    """Run a command in a VM, and leave with its exit code (128 + n if signal n ended it)."""

    async def work(command: Command) -> int:
        from aetherium.cli import terminal
        from aetherium.domain.executions import ExecutionSpec

        if tty and not terminal.is_terminal():
            raise InvalidInput("This is no terminal.", hint="Leave -t out, or use -i alone to pass stdin on.")
        if as_json and (interactive or tty):
            raise InvalidInput("--json and -i or -t do not go together.", hint="Leave one of them out.")
        spec = ExecutionSpec(
            argv=tuple(argv or ()),
            env=options.environment(env),
            secret_env=options.secrets(secret),
            secret_names=tuple(stored_secret or ()),
            cwd=cwd,
            user=user,
            timeout_s=None if timeout is None else options.seconds(timeout, "timeout"),
            terminal=terminal.size() if tty else None,
            stdin=interactive or tty,
        )
        if detach:
            await _detached(command, ref, spec)
            return 0
        if command.output.as_json:
            return await _whole(command, ref, spec)
        return await (_attended if spec.stdin else _streamed)(command, ref, spec)

    execute(ctx, work, as_json=as_json, failure=CARRIED_OUT_NOT)


def shell(
    ctx: typer.Context,
    ref: Ref,
    user: Annotated[str | None, typer.Option("--user", "-u", metavar="NAME", help="Name or uid.")] = None,
    cwd: Annotated[str | None, typer.Option("--cwd", "-w", metavar="DIR", help="In the guest.")] = None,
    env: options.Env = None,
) -> None:
    """A login shell in a VM, in this terminal."""

    async def work(command: Command) -> int:
        from aetherium.cli import terminal
        from aetherium.domain.executions import ExecutionSpec

        if not terminal.is_terminal():
            raise InvalidInput(
                "A shell needs a terminal.", hint="For scripts: aetherium vm exec -i VM -- /bin/sh"
            )
        spec = ExecutionSpec(
            argv=("/bin/sh", "-c", _LOGIN),
            env=options.environment(env),
            cwd=cwd,
            user=user,
            terminal=terminal.size(),
            stdin=True,
        )
        return await _attended(command, ref, spec)

    execute(ctx, work, failure=CARRIED_OUT_NOT)


async def _detached(command: Command, ref: str, spec: ExecutionSpec) -> None:
    execution = await command.client.executions.start(ref, spec)
    command.output.show(execution, lambda console: console.print(execution.id))


async def _whole(command: Command, ref: str, spec: ExecutionSpec) -> int:
    execution, stdout, stderr = await command.client.executions.run(ref, spec)
    command.output.json(
        {
            "execution": execution,
            "stdout": stdout.decode(errors="replace"),
            "stderr": stderr.decode(errors="replace"),
        }
    )
    return _code(command, execution.result, quiet=True)


async def _streamed(command: Command, ref: str, spec: ExecutionSpec) -> int:
    async with command.client.executions.stream(ref, spec) as output:
        control = _Control(command, output.execution)
        async with control:
            await control.pump(output.__aiter__())
        return _code(command, output.result)


async def _attended(command: Command, ref: str, spec: ExecutionSpec) -> int:
    """With stdin, and in a terminal if there is one."""
    from contextlib import ExitStack

    from aetherium.cli import terminal

    async with command.client.executions.interactive(ref, spec) as session:
        control = _Control(command, session.execution)
        with ExitStack() as stack:
            if spec.terminal is not None:
                stack.enter_context(terminal.raw())
            async with control:
                if spec.terminal is not None:
                    stack.enter_context(
                        terminal.on_resize(lambda size: control.later(lambda: session.resize(size)))
                    )
                    # The window may have changed between asking for its size and now.
                    control.later(lambda: session.resize(terminal.size()))
                left = asyncio.Event()
                typing = control.group.create_task(
                    _type(session, left if spec.terminal is not None else None)
                )
                await control.pump(session.__aiter__(), left)
                typing.cancel()
        if session.result is None:
            command.output.note("Left; what it had started in the terminal was hung up.")
            return 0
        return _code(command, session.result)


async def _type(session: Session, left: asyncio.Event | None) -> None:
    """Pass stdin on. Ctrl-] in a terminal sets `left`."""
    from aetherium.cli import terminal

    async for data in terminal.keys():
        if left is not None and _LEAVE in data:
            await session.write(data[: data.index(_LEAVE)])
            left.set()
            return
        await session.write(data)
    await session.close_stdin()


class _Control:
    """Moves output, and passes signals on: the first Ctrl-C as SIGINT, the second kills, the third leaves."""

    def __init__(self, command: Command, execution: Execution | None) -> None:
        self._command = command
        self._id = execution.id if execution is not None else ""
        self._interrupts = 0
        self.group = asyncio.TaskGroup()

    async def __aenter__(self) -> _Control:
        await self.group.__aenter__()
        self._command.interrupt = self._on_signal
        return self

    async def __aexit__(self, *details: Any) -> None:
        self._command.interrupt = None
        await self.group.__aexit__(*details)

    def later(self, action: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do it beside; that the execution has just ended is no error."""

        async def attempt() -> None:
            try:
                await action()
            except AetheriumError:
                return

        self.group.create_task(attempt())

    def _on_signal(self, number: signal.Signals) -> bool:
        self._interrupts += 1
        executions = self._command.client.executions
        if self._interrupts == 1:
            self.later(lambda: executions.signal(self._id, int(number)))
        elif self._interrupts == 2:
            self._command.output.note("Killing it …")
            self.later(lambda: executions.kill(self._id))
        return self._interrupts <= 2

    async def pump(self, chunks: AsyncIterator[OutputChunk], left: asyncio.Event | None = None) -> None:
        """Write the output until it ends, or until the user has left."""
        pumping = self.group.create_task(self._write_all(chunks))
        if left is None:
            await pumping
            return
        leaving = self.group.create_task(left.wait())
        await asyncio.wait((pumping, leaving), return_when=asyncio.FIRST_COMPLETED)
        for task in (pumping, leaving):
            task.cancel()

    async def _write_all(self, chunks: AsyncIterator[OutputChunk]) -> None:
        from aetherium.cli import terminal
        from aetherium.domain.guest import OutputStream

        fds = {OutputStream.STDOUT: sys.stdout.fileno(), OutputStream.STDERR: sys.stderr.fileno()}
        try:
            async for chunk in chunks:
                await terminal.write(fds[chunk.stream], chunk.data)
        except BrokenPipeError:
            await self._command.client.executions.kill(self._id)  # as SIGPIPE would have ended it
            raise


def _code(command: Command, result: ExecutionResult | None, *, quiet: bool = False) -> int:
    from aetherium.domain.executions import ExecutionState

    if result is None:
        return CARRIED_OUT_NOT
    if not quiet:
        if result.state is ExecutionState.FAILED:
            command.output.warn(result.error or "The command could not be started.")
        elif result.oom:
            command.output.warn("The guest's kernel killed it: it was out of memory. Give the VM more.")
        elif result.state is ExecutionState.TIMED_OUT:
            command.output.warn(f"It was ended after its timeout ({result.duration_s:.0f} s).")
        elif result.state is ExecutionState.LOST:
            command.output.warn("The VM ended under it.")
    return result.shell_code
