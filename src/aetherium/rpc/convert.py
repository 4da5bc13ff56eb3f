"""Domain values to messages and back.

Paths, arguments and values of variables are bytes in messages, since a kernel takes any; here, as everywhere
in Python, they are text in which what is no UTF-8 stands as lone surrogates (PEP 383). Other text that has
such characters is escaped: it is for people to read.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from aetherium.domain.checks import Check
from aetherium.domain.errors import InvalidInput
from aetherium.domain.executions import (
    Execution,
    ExecutionLimits,
    ExecutionResult,
    ExecutionSpec,
    ExecutionState,
    ResourceUse,
    TerminalSize,
)
from aetherium.domain.guest import FileEvent, FileKind, FileStat, GuestMetrics, OutputChunk, OutputStream
from aetherium.domain.vms import VMMetrics
from aetherium.protocol.generated import executions_pb2, files_pb2, vms_pb2

_STATES = {
    state: executions_pb2.ExecutionState.Value(f"EXECUTION_STATE_{state.name}") for state in ExecutionState
}
_KINDS = {kind: files_pb2.FileKind.Value(f"FILE_KIND_{kind.name}") for kind in FileKind}
_STREAMS = {
    stream: executions_pb2.OutputStream.Value(f"OUTPUT_STREAM_{stream.name}") for stream in OutputStream
}
_STATE_OF = {number: state for state, number in _STATES.items()}
_KIND_OF = {number: kind for kind, number in _KINDS.items()}
_STREAM_OF = {number: stream for stream, number in _STREAMS.items()}
# What holds where a message does not say.
_UNSAID = ExecutionSpec(("true",))


def raw(text: str) -> bytes:
    """What a kernel takes."""
    return text.encode("utf-8", "surrogateescape")


def text(data: bytes) -> str:
    """Back from `raw`."""
    return data.decode("utf-8", "surrogateescape")


def readable(words: str) -> str:
    """Text for people, whatever is in it."""
    return words.encode("utf-8", "backslashreplace").decode()


@contextmanager
def sending() -> Iterator[None]:
    """Around the making of a message: values that it cannot hold become InvalidInput."""
    try:
        yield
    except ValueError as error:  # numbers out of range, and text that is none
        raise InvalidInput(f"A value cannot be sent: {readable(str(error))}.") from error


# -- executions


@sending()
def size_to_pb(size: TerminalSize) -> executions_pb2.TerminalSize:
    """A terminal's size. Raises InvalidInput."""
    return executions_pb2.TerminalSize(rows=size.rows, columns=size.columns)


def size_from_pb(message: executions_pb2.TerminalSize) -> TerminalSize:
    """Back from `size_to_pb`."""
    return TerminalSize(message.rows, message.columns)


@sending()
def spec_to_pb(spec: ExecutionSpec) -> executions_pb2.ExecutionSpec:
    """What to run. Raises InvalidInput."""
    return executions_pb2.ExecutionSpec(
        argv=[raw(word) for word in spec.argv],
        env={key: raw(value) for key, value in spec.env.items()},
        secret_env={key: raw(value) for key, value in spec.secret_env.items()},
        cwd=None if spec.cwd is None else raw(spec.cwd),
        user=spec.user,
        umask=spec.umask,
        timeout_s=spec.timeout_s,
        terminal=None if spec.terminal is None else size_to_pb(spec.terminal),
        stdin=spec.stdin,
        limits=_limits_to_pb(spec.limits),
        output_limit=spec.output_limit,
        secret_names=spec.secret_names,
    )


def spec_from_pb(message: executions_pb2.ExecutionSpec) -> ExecutionSpec:
    """Back from `spec_to_pb`. Raises InvalidInput."""
    return ExecutionSpec(
        argv=tuple(text(word) for word in message.argv),
        env={key: text(value) for key, value in message.env.items()},
        secret_env={key: text(value) for key, value in message.secret_env.items()},
        cwd=text(message.cwd) if message.HasField("cwd") else None,
        user=message.user if message.HasField("user") else None,
        umask=message.umask if message.HasField("umask") else None,
        timeout_s=message.timeout_s if message.HasField("timeout_s") else None,
        terminal=size_from_pb(message.terminal) if message.HasField("terminal") else None,
        stdin=message.stdin,
        limits=_limits_from_pb(message.limits),
        output_limit=message.output_limit if message.HasField("output_limit") else _UNSAID.output_limit,
        secret_names=tuple(message.secret_names),
    )


def _limits_to_pb(limits: ExecutionLimits) -> executions_pb2.ExecutionLimits:
    return executions_pb2.ExecutionLimits(
        memory_mib=limits.memory_mib,
        processes=limits.processes,
        open_files=limits.open_files,
        file_size_mib=limits.file_size_mib,
        cpu_s=limits.cpu_s,
    )


def _limits_from_pb(message: executions_pb2.ExecutionLimits) -> ExecutionLimits:
    return ExecutionLimits(
        memory_mib=message.memory_mib if message.HasField("memory_mib") else None,
        processes=message.processes if message.HasField("processes") else None,
        open_files=message.open_files if message.HasField("open_files") else None,
        file_size_mib=message.file_size_mib if message.HasField("file_size_mib") else None,
        cpu_s=message.cpu_s if message.HasField("cpu_s") else None,
    )


def result_to_pb(result: ExecutionResult) -> executions_pb2.ExecutionResult:
    """How an execution ended."""
    use = result.use
    return executions_pb2.ExecutionResult(
        state=_STATES[result.state],
        exit_code=result.exit_code,
        signal=result.signal,
        oom=result.oom,
        duration_s=result.duration_s,
        stdout_bytes=result.stdout_bytes,
        stderr_bytes=result.stderr_bytes,
        use=executions_pb2.ResourceUse(user_s=use.user_s, system_s=use.system_s, max_rss_kib=use.max_rss_kib),
        error=readable(result.error),
    )


def result_from_pb(message: executions_pb2.ExecutionResult) -> ExecutionResult:
    """Back from `result_to_pb`."""
    use = message.use
    return ExecutionResult(
        state=_STATE_OF[message.state],
        exit_code=message.exit_code if message.HasField("exit_code") else None,
        signal=message.signal if message.HasField("signal") else None,
        oom=message.oom,
        duration_s=message.duration_s,
        stdout_bytes=message.stdout_bytes,
        stderr_bytes=message.stderr_bytes,
        use=ResourceUse(use.user_s, use.system_s, use.max_rss_kib),
        error=message.error,
    )


def execution_to_pb(execution: Execution) -> executions_pb2.Execution:
    """An execution as recorded."""
    return executions_pb2.Execution(
        id=execution.id,
        vm_id=execution.vm_id,
        spec=spec_to_pb(execution.spec),
        state=_STATES[execution.state],
        created_at=_time_to_pb(execution.created_at),
        started_at=None if execution.started_at is None else _time_to_pb(execution.started_at),
        ended_at=None if execution.ended_at is None else _time_to_pb(execution.ended_at),
        result=None if execution.result is None else result_to_pb(execution.result),
        secret_names=execution.secret_names,
    )


def execution_from_pb(message: executions_pb2.Execution) -> Execution:
    """Back from `execution_to_pb`."""
    return Execution(
        id=message.id,
        vm_id=message.vm_id,
        spec=spec_from_pb(message.spec),
        state=_STATE_OF[message.state],
        created_at=_time_from_pb(message.created_at),
        started_at=_time_from_pb(message.started_at) if message.HasField("started_at") else None,
        ended_at=_time_from_pb(message.ended_at) if message.HasField("ended_at") else None,
        result=result_from_pb(message.result) if message.HasField("result") else None,
        secret_names=tuple(message.secret_names),
    )


def _time_to_pb(moment: datetime) -> Timestamp:
    message = Timestamp()
    message.FromDatetime(moment)
    return message


def _time_from_pb(message: Timestamp) -> datetime:
    return message.ToDatetime(tzinfo=UTC)


def chunk_to_pb(chunk: OutputChunk) -> executions_pb2.OutputChunk:
    """A piece of output."""
    return executions_pb2.OutputChunk(stream=_STREAMS[chunk.stream], offset=chunk.offset, data=chunk.data)


def chunk_from_pb(message: executions_pb2.OutputChunk) -> OutputChunk:
    """Back from `chunk_to_pb`."""
    return OutputChunk(_STREAM_OF[message.stream], message.offset, message.data)


# -- files


def stat_to_pb(stat: FileStat) -> files_pb2.FileStat:
    """One file system entry."""
    return files_pb2.FileStat(
        path=raw(stat.path),
        kind=_KINDS[stat.kind],
        size=stat.size,
        mode=stat.mode,
        uid=stat.uid,
        gid=stat.gid,
        mtime_ns=stat.mtime_ns,
        target=raw(stat.target),
    )


def stat_from_pb(message: files_pb2.FileStat) -> FileStat:
    """Back from `stat_to_pb`."""
    return FileStat(
        path=text(message.path),
        kind=_KIND_OF[message.kind],
        size=message.size,
        mode=message.mode,
        uid=message.uid,
        gid=message.gid,
        mtime_ns=message.mtime_ns,
        target=text(message.target),
    )


def event_to_pb(event: FileEvent) -> files_pb2.FileEvent:
    """A change under a watched path."""
    return files_pb2.FileEvent(kind=event.kind, path=raw(event.path))


def event_from_pb(message: files_pb2.FileEvent) -> FileEvent:
    """Back from `event_to_pb`."""
    return FileEvent(message.kind, text(message.path))


# -- facts about VMs


def metrics_to_pb(metrics: VMMetrics) -> vms_pb2.VMMetrics:
    """Live facts of a VM."""
    return vms_pb2.VMMetrics(
        vm_id=metrics.vm_id,
        condition=metrics.condition,
        reason=readable(metrics.reason),
        cpu_s=metrics.cpu_s,
        memory_bytes=metrics.memory_bytes,
        disk_bytes=metrics.disk_bytes,
        guest=None if metrics.guest is None else _inside_to_pb(metrics.guest),
    )


def metrics_from_pb(message: vms_pb2.VMMetrics) -> VMMetrics:
    """Back from `metrics_to_pb`."""
    return VMMetrics(
        vm_id=message.vm_id,
        condition=message.condition,
        reason=message.reason,
        cpu_s=message.cpu_s,
        memory_bytes=message.memory_bytes,
        disk_bytes=message.disk_bytes,
        guest=_inside_from_pb(message.guest) if message.HasField("guest") else None,
    )


def _inside_to_pb(metrics: GuestMetrics) -> vms_pb2.GuestMetrics:
    return vms_pb2.GuestMetrics(
        uptime_s=metrics.uptime_s,
        cpu_user_s=metrics.cpu_user_s,
        cpu_system_s=metrics.cpu_system_s,
        cpu_idle_s=metrics.cpu_idle_s,
        memory_total=metrics.memory_total,
        memory_available=metrics.memory_available,
        disk_total=metrics.disk_total,
        disk_free=metrics.disk_free,
        processes=metrics.processes,
        load_1m=metrics.load_1m,
    )


def _inside_from_pb(message: vms_pb2.GuestMetrics) -> GuestMetrics:
    return GuestMetrics(
        uptime_s=message.uptime_s,
        cpu_user_s=message.cpu_user_s,
        cpu_system_s=message.cpu_system_s,
        cpu_idle_s=message.cpu_idle_s,
        memory_total=message.memory_total,
        memory_available=message.memory_available,
        disk_total=message.disk_total,
        disk_free=message.disk_free,
        processes=message.processes,
        load_1m=message.load_1m,
    )


def check_to_pb(check: Check) -> vms_pb2.Check:
    """One finding."""
    return vms_pb2.Check(
        name=check.name,
        ok=check.ok,
        detail=readable(check.detail),
        hint=readable(check.hint),
        required=check.required,
        group=check.group,
    )


def check_from_pb(message: vms_pb2.Check) -> Check:
    """Back from `check_to_pb`."""
    return Check(
        message.name, message.ok, message.detail, message.hint, required=message.required, group=message.group
    )
