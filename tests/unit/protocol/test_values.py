"""Domain values over the wire; a guest's malformed ones become ProtocolViolation and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherium.domain.errors import ProtocolViolation
from aetherium.domain.executions import (
    ExecutionLimits,
    ExecutionResult,
    ExecutionSpec,
    ExecutionState,
    ResourceUse,
    TerminalSize,
)
from aetherium.domain.guest import ExecutionStatus, FileKind, FileStat, GuestInfo, GuestMetrics
from aetherium.protocol import values as v
from aetherium.protocol.pack import pack, unpack

counts = st.integers(0, 2**40)
seconds = st.floats(0, 1e9)
wild = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def over_the_wire(value: Any) -> Any:
    return unpack(pack(value))


def test_spec() -> None:
    spec = ExecutionSpec(
        ("a", "b"),
        env={"A": "1"},
        cwd="/x",
        user="agent",
        umask=0o77,
        timeout_s=1.5,
        terminal=TerminalSize(rows=2, columns=3),
        stdin=True,
        limits=ExecutionLimits(memory_mib=64, open_files=9),
        output_limit=5,
    )
    assert v.spec_from_wire(over_the_wire(v.spec_to_wire(spec))) == spec
    secret = ExecutionSpec(("a",), secret_env={"S": "x"})
    assert v.spec_to_wire(secret)["env"] == {"S": "x"}


@given(counts, counts, seconds, st.booleans())
def test_result(stdout: int, stderr: int, duration: float, oom: bool) -> None:
    result = ExecutionResult(
        ExecutionState.SIGNALED,
        None,
        9,
        oom,
        duration,
        stdout,
        stderr,
        ResourceUse(duration, 0.5, stdout),
        "why",
    )
    assert v.result_from_wire(over_the_wire(v.result_to_wire(result))) == result


def test_others() -> None:
    status = ExecutionStatus("x", ExecutionState.RUNNING, 5, 6, 7)
    assert v.status_from_wire(over_the_wire(v.status_to_wire(status))) == status
    stat = FileStat("/a", FileKind.SYMLINK, 1, 0o777, 2, 3, 4, "b")
    assert v.stat_from_wire(over_the_wire(v.stat_to_wire(stat))) == stat
    metrics = GuestMetrics(1.0, 2.0, 3.0, 4.0, 5, 6, 7, 8, 9, 0.5)
    assert v.metrics_from_wire(over_the_wire(v.metrics_to_wire(metrics))) == metrics
    info = GuestInfo(1, "2", "boot", "kernel", frozenset({"pty", "files"}))
    assert v.info_from_wire(over_the_wire(v.info_to_wire(info)), 1) == info


CONVERTERS: list[tuple[Callable[[Any], object], tuple[str, ...]]] = [
    (v.result_from_wire, tuple(v.result_to_wire(ExecutionResult(ExecutionState.EXITED)))),
    (v.status_from_wire, ("id", "state", "pid", "stdout", "stderr")),
    (v.stat_from_wire, ("path", "kind", "size", "mode", "uid", "gid", "mtime_ns", "target")),
    (v.metrics_from_wire, tuple(GuestMetrics.__slots__)),
    (lambda value: v.info_from_wire(value, 1), ("agent", "boot_id", "kernel", "capabilities")),
    (v.event_from_wire, ("kind", "path")),
    (v.pid_from_wire, ("pid",)),
]


@pytest.mark.parametrize(("convert", "keys"), CONVERTERS)
@given(data=st.data())
def test_malformed_values(
    convert: Callable[[Any], object], keys: tuple[str, ...], data: st.DataObject
) -> None:
    value = data.draw(wild | st.fixed_dictionaries(dict.fromkeys(keys, wild)))
    try:
        convert(value)
    except ProtocolViolation:
        return
