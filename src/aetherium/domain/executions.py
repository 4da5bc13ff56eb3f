"""An execution: one command run in a VM.

::

    starting ──► running ──► exited     ended by itself: exit_code
        │           ├──────► signaled   ended by a signal: signal, and oom if the kernel's OOM killer did it
        │           ├──────► timed_out  its timeout ran out and the process group was killed
        │           ├──────► cancelled  somebody killed it through the API
        │           └──────► lost       the VM ended under it
        └──► failed                     it could not be started (no such program, no such user …)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from aetherium.domain.errors import InvalidInput
from aetherium.domain.lifecycle import Lifecycle
from aetherium.domain.secrets import check_name


class ExecutionState(StrEnum):
    """Where an execution is in its life."""

    STARTING = "starting"
    RUNNING = "running"
    EXITED = "exited"
    SIGNALED = "signaled"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    LOST = "lost"
    FAILED = "failed"


_ENDS = frozenset(
    {
        ExecutionState.EXITED,
        ExecutionState.SIGNALED,
        ExecutionState.TIMED_OUT,
        ExecutionState.CANCELLED,
        ExecutionState.LOST,
    }
)
EXECUTION_LIFECYCLE: Lifecycle[ExecutionState] = Lifecycle(
    "Execution",
    {
        ExecutionState.STARTING: _ENDS | {ExecutionState.RUNNING, ExecutionState.FAILED},
        ExecutionState.RUNNING: _ENDS,
        ExecutionState.FAILED: frozenset(),
        **{state: frozenset[ExecutionState]() for state in _ENDS},
    },
)


@dataclass(frozen=True, slots=True)
class TerminalSize:
    """Size of a terminal in character cells."""

    rows: int = 24
    columns: int = 80


@dataclass(frozen=True, slots=True)
class ExecutionLimits:
    """Limits inside the guest, None: no limit beyond the VM's own.

    Args:
        memory_mib: memory of the whole process tree (cgroup ``memory.max``).
        processes: processes and threads of the tree (cgroup ``pids.max``).
        open_files: RLIMIT_NOFILE of each process.
        file_size_mib: RLIMIT_FSIZE of each process.
        cpu_s: RLIMIT_CPU of each process, seconds.
    """

    memory_mib: int | None = None
    processes: int | None = None
    open_files: int | None = None
    file_size_mib: int | None = None
    cpu_s: int | None = None


@dataclass(frozen=True, slots=True)
class ExecutionSpec:
    """What to run.

    Args:
        argv: program and arguments; the program is looked up on PATH in the guest.
        env: added to the guest's default environment (PATH, HOME, USER, LANG, TERM with a terminal).
        secret_env: like `env`, but held in memory only: never stored, logged or put in argv, and masked
            in output.
        cwd: working directory in the guest; None: the user's home.
        user: name or uid in the guest; None: the image's default user.
        umask: for example 0o022; None: 0o022.
        timeout_s: the process group is terminated after this long; None: never.
        terminal: run in a terminal of this size; stdout and stderr are then one stream.
        stdin: whether stdin stays open for the caller; False: /dev/null.
        output_limit: bytes of output the agent keeps for reattaching; older bytes are dropped.
        secret_names: stored secrets whose values are added to `secret_env`, see domain/secrets.py.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    secret_env: Mapping[str, str] = field(default_factory=dict, repr=False)
    cwd: str | None = None
    user: str | None = None
    umask: int | None = None
    timeout_s: float | None = None
    terminal: TerminalSize | None = None
    stdin: bool = False
    limits: ExecutionLimits = field(default_factory=ExecutionLimits)
    output_limit: int = 1 << 20
    secret_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.argv or not self.argv[0]:
            raise InvalidInput("No command was given.", hint="Give a program and its arguments.")
        if any("\0" in word for word in self.argv):
            raise InvalidInput("The command holds a NUL byte, which no program can receive.")
        for key, value in (*self.env.items(), *self.secret_env.items()):
            if not key or "=" in key or "\0" in key or "\0" in value:
                raise InvalidInput(
                    f"The environment variable {key!r} cannot be set.",
                    hint="Names must not be empty or hold '=', and nothing may hold a NUL byte.",
                )
        for name in self.secret_names:
            check_name(name)
        if self.timeout_s is not None and self.timeout_s <= 0:
            raise InvalidInput(f"timeout_s is {self.timeout_s}.", hint="Give seconds above 0.")


@dataclass(frozen=True, slots=True)
class ResourceUse:
    """What an execution used: seconds of CPU, peak resident memory in KiB of its largest process."""

    user_s: float = 0.0
    system_s: float = 0.0
    max_rss_kib: int = 0


@dataclass(frozen=True, slots=True)
class ExecutionResult:
    """How an execution ended.

    Args:
        exit_code: 0 to 255 if it exited; None otherwise.
        signal: number of the signal that ended it, or None.
        oom: the guest kernel's OOM killer ended it.
        duration_s: wall seconds from start to end, measured in the guest.
        stdout_bytes, stderr_bytes: all bytes that it wrote, kept or not.
        error: why it could not be started; empty otherwise.
    """

    state: ExecutionState
    exit_code: int | None = None
    signal: int | None = None
    oom: bool = False
    duration_s: float = 0.0
    stdout_bytes: int = 0
    stderr_bytes: int = 0
    use: ResourceUse = field(default_factory=ResourceUse)
    error: str = ""

    @property
    def ok(self) -> bool:
        """Whether it exited with 0."""
        return self.exit_code == 0

    @property
    def shell_code(self) -> int:
        """The code a shell would report: 128 + signal, 124 for a timeout, 127 if it did not start."""
        if self.exit_code is not None:
            return self.exit_code
        if self.state is ExecutionState.TIMED_OUT:
            return 124
        if self.state is ExecutionState.FAILED:
            return 127
        return 128 + (self.signal or 9)


@dataclass(frozen=True, slots=True)
class Execution:
    """One execution as recorded; secret values are not part of it."""

    id: str
    vm_id: str
    spec: ExecutionSpec
    state: ExecutionState
    created_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None
    result: ExecutionResult | None = None
    secret_names: tuple[str, ...] = ()
