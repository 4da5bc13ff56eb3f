"""Commands in VMs: how they are asked for, and what came of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypedDict

from aetherium.domain.executions import Execution, ExecutionLimits, ExecutionSpec, TerminalSize

# A string is a script for the shell; a sequence is a program with its arguments.
Command = str | Sequence[str]

_SHELL = ("/bin/sh", "-c")


class How(TypedDict, total=False):
    """How to run a command; see ExecutionSpec."""

    env: Mapping[str, str]
    secret_env: Mapping[str, str]
    secret_names: tuple[str, ...]
    cwd: str | None
    user: str | None
    umask: int | None
    timeout_s: float | None
    limits: ExecutionLimits
    output_limit: int


def spec_of(
    command: Command, how: How, *, stdin: bool = False, terminal: TerminalSize | None = None
) -> ExecutionSpec:
    """What is asked of the gateway. Raises InvalidInput."""
    argv = (*_SHELL, command) if isinstance(command, str) else tuple(command)
    return ExecutionSpec(argv, stdin=stdin, terminal=terminal, **how)


class CommandFailed(Exception):
    """A command did not exit with 0. It is the command that failed and not the platform, so this is none of
    the platform's errors."""

    def __init__(self, result: Result) -> None:
        said = (result.stderr or result.stdout).strip().splitlines()
        last = f": {said[-1]}" if said else "."
        super().__init__(f"The command {result.argv} ended with {result.exit_code}{last}")
        self.result = result


@dataclass(frozen=True, slots=True)
class Result:
    """A command that was run to its end.

    Args:
        execution: as it was recorded, with times and the use of resources.
    """

    execution: Execution
    stdout_bytes: bytes = field(repr=False)
    stderr_bytes: bytes = field(repr=False)

    @property
    def argv(self) -> Sequence[str]:
        """What was run."""
        return self.execution.spec.argv

    @property
    def exit_code(self) -> int:
        """As a shell tells it: 128 + signal, 124 after a timeout, 127 if there is no such program."""
        result = self.execution.result
        return 127 if result is None else result.shell_code

    @property
    def ok(self) -> bool:
        """Whether it exited with 0."""
        return self.exit_code == 0

    @property
    def stdout(self) -> str:
        """What it wrote to stdout, as text."""
        return self.stdout_bytes.decode(errors="replace")

    @property
    def stderr(self) -> str:
        """What it wrote to stderr, as text."""
        return self.stderr_bytes.decode(errors="replace")

    def check(self) -> Result:
        """The same, if it exited with 0. Raises CommandFailed."""
        if not self.ok:
            raise CommandFailed(self)
        return self
