"""Domain values as control values and back, for the host and for fakes of the agent.

Not imported by the agent. The `*_from_wire` functions take what a guest sent, which is not trusted: a wrong
shape raises ProtocolViolation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from aetherium.domain.errors import ProtocolViolation
from aetherium.domain.executions import (
    ExecutionLimits,
    ExecutionResult,
    ExecutionSpec,
    ExecutionState,
    ResourceUse,
    TerminalSize,
)
from aetherium.domain.guest import ExecutionStatus, FileEvent, FileKind, FileStat, GuestInfo, GuestMetrics

P = ParamSpec("P")
T = TypeVar("T")
_KINDS = ("created", "modified", "moved", "removed", "overflow")


def _checked(function: Callable[P, T]) -> Callable[P, T]:
    """Turn whatever a wrong shape causes into ProtocolViolation."""

    @wraps(function)
    def convert(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise ProtocolViolation(f"The guest sent a malformed value: {error!r}.") from error

    return convert


def spec_to_wire(spec: ExecutionSpec) -> dict[str, Any]:
    """An ExecutionSpec for exec.start; secret values are merged into env, which is kept in memory only."""
    size = spec.terminal
    limits = spec.limits
    return {
        "argv": list(spec.argv),
        "env": {**spec.env, **spec.secret_env},
        "cwd": spec.cwd,
        "user": spec.user,
        "umask": spec.umask,
        "timeout": None if spec.timeout_s is None else float(spec.timeout_s),
        "terminal": [size.rows, size.columns] if size else None,
        "stdin": spec.stdin,
        "output_limit": spec.output_limit,
        "limits": {
            "memory_mib": limits.memory_mib,
            "processes": limits.processes,
            "open_files": limits.open_files,
            "file_size_mib": limits.file_size_mib,
            "cpu_s": limits.cpu_s,
        },
    }


def spec_from_wire(value: Mapping[str, Any]) -> ExecutionSpec:
    """The inverse of spec_to_wire (secrets come back in env)."""
    size = value["terminal"]
    return ExecutionSpec(
        argv=tuple(value["argv"]),
        env=dict(value["env"]),
        cwd=value["cwd"],
        user=value["user"],
        umask=value["umask"],
        timeout_s=value["timeout"],
        terminal=TerminalSize(*size) if size else None,
        stdin=value["stdin"],
        limits=ExecutionLimits(**value["limits"]),
        output_limit=value["output_limit"],
    )


def result_to_wire(result: ExecutionResult) -> dict[str, Any]:
    """An ExecutionResult as the agent sends it."""
    return {
        "state": result.state.value,
        "code": result.exit_code,
        "signal": result.signal,
        "oom": result.oom,
        "duration": result.duration_s,
        "stdout": result.stdout_bytes,
        "stderr": result.stderr_bytes,
        "user": result.use.user_s,
        "system": result.use.system_s,
        "rss": result.use.max_rss_kib,
        "error": result.error,
        "errno": "",
    }


@_checked
def result_from_wire(value: Mapping[str, Any]) -> ExecutionResult:
    """How an execution ended."""
    code, signal = value["code"], value["signal"]
    return ExecutionResult(
        state=ExecutionState(value["state"]),
        exit_code=None if code is None else int(code),
        signal=None if signal is None else int(signal),
        oom=bool(value["oom"]),
        duration_s=float(value["duration"]),
        stdout_bytes=int(value["stdout"]),
        stderr_bytes=int(value["stderr"]),
        use=ResourceUse(float(value["user"]), float(value["system"]), int(value["rss"])),
        error=_text(value["error"]),
    )


@_checked
def pid_from_wire(value: Mapping[str, Any]) -> int:
    """The answer of exec.start."""
    return int(value["pid"])


def status_to_wire(status: ExecutionStatus) -> dict[str, Any]:
    """One entry of exec.list."""
    return {
        "id": status.id,
        "state": status.state.value,
        "pid": status.pid,
        "stdout": status.stdout_bytes,
        "stderr": status.stderr_bytes,
    }


@_checked
def status_from_wire(value: Mapping[str, Any]) -> ExecutionStatus:
    """One entry of exec.list."""
    return ExecutionStatus(
        id=_text(value["id"]),
        state=ExecutionState(value["state"]),
        pid=None if value["pid"] is None else int(value["pid"]),
        stdout_bytes=int(value["stdout"]),
        stderr_bytes=int(value["stderr"]),
    )


def stat_to_wire(stat: FileStat) -> dict[str, Any]:
    """A file system entry as the agent sends it."""
    names = ("path", "size", "mode", "uid", "gid", "mtime_ns", "target")
    return {"kind": stat.kind.value, **{name: getattr(stat, name) for name in names}}


@_checked
def stat_from_wire(value: Mapping[str, Any]) -> FileStat:
    """A file system entry."""
    numbers = {name: int(value[name]) for name in ("size", "mode", "uid", "gid", "mtime_ns")}
    return FileStat(
        path=_text(value["path"]), kind=FileKind(value["kind"]), target=_text(value["target"]), **numbers
    )


@_checked
def event_from_wire(value: Mapping[str, Any]) -> FileEvent:
    """One change under a watched path."""
    kind = value["kind"]
    if kind not in _KINDS:
        raise ValueError(f"unknown kind {kind!r}")
    return FileEvent(kind=kind, path=_text(value["path"]))


def metrics_to_wire(metrics: GuestMetrics) -> dict[str, Any]:
    """Live facts as the agent sends them."""
    return {name: getattr(metrics, name) for name in GuestMetrics.__slots__}


@_checked
def metrics_from_wire(value: Mapping[str, Any]) -> GuestMetrics:
    """Live facts."""
    seconds = ("uptime_s", "cpu_user_s", "cpu_system_s", "cpu_idle_s", "load_1m")
    counts = ("memory_total", "memory_available", "disk_total", "disk_free", "processes")
    numbers: dict[str, Any] = {name: float(value[name]) for name in seconds}
    return GuestMetrics(**numbers, **{name: int(value[name]) for name in counts})


def info_to_wire(info: GuestInfo) -> dict[str, Any]:
    """The payload of INFO, for fakes."""
    return {
        "agent": info.agent,
        "boot_id": info.boot_id,
        "kernel": info.kernel,
        "capabilities": sorted(info.capabilities),
    }


@_checked
def info_from_wire(value: Mapping[str, Any], protocol: int) -> GuestInfo:
    """What an agent says of itself."""
    return GuestInfo(
        protocol=protocol,
        agent=_text(value["agent"]),
        boot_id=_text(value["boot_id"]),
        kernel=_text(value["kernel"]),
        capabilities=frozenset(_text(name) for name in value["capabilities"]),
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected text, got {type(value).__name__}")
    return value
