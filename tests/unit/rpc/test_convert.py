"""Values survive the way through messages and bytes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

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
from aetherium.rpc import convert

INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
NATURAL = st.integers(0, (1 << 63) - 1)
INT32 = st.integers(-(1 << 31), (1 << 31) - 1)
UINT32 = st.integers(0, (1 << 32) - 1)
NUMBER = st.floats(allow_nan=False)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
# What a kernel takes, as Python has it: no NUL, and bytes that are no UTF-8.
WORD = st.binary(max_size=20).map(lambda data: data.replace(b"\0", b"0").decode("utf-8", "surrogateescape"))
NAME = TEXT.map(lambda text: "N" + text.replace("=", "").replace("\0", ""))
STATE = st.sampled_from(ExecutionState)
TIME = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))


def maybe(what: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | what


SIZE = st.builds(TerminalSize, INT32, INT32)
SPEC = st.builds(
    ExecutionSpec,
    argv=st.lists(WORD, max_size=4).map(lambda rest: ("program", *rest)),
    env=st.dictionaries(NAME, WORD, max_size=3),
    secret_env=st.dictionaries(NAME, WORD, max_size=3),
    cwd=maybe(WORD),
    user=maybe(TEXT),
    umask=maybe(UINT32),
    timeout_s=maybe(st.floats(min_value=0.001, max_value=1e9)),
    terminal=maybe(SIZE),
    stdin=st.booleans(),
    limits=st.builds(ExecutionLimits, *[maybe(NATURAL)] * 5),
    output_limit=NATURAL,
    secret_names=st.lists(st.from_regex(r"[A-Z_][A-Z0-9_]{0,5}", fullmatch=True), max_size=3).map(tuple),
)
RESULT = st.builds(
    ExecutionResult,
    state=STATE,
    exit_code=maybe(INT32),
    signal=maybe(INT32),
    oom=st.booleans(),
    duration_s=NUMBER,
    stdout_bytes=NATURAL,
    stderr_bytes=NATURAL,
    use=st.builds(ResourceUse, NUMBER, NUMBER, NATURAL),
    error=TEXT,
)
EXECUTION = st.builds(
    Execution,
    id=TEXT,
    vm_id=TEXT,
    spec=SPEC,
    state=STATE,
    created_at=TIME,
    started_at=maybe(TIME),
    ended_at=maybe(TIME),
    result=maybe(RESULT),
    secret_names=st.lists(TEXT, max_size=3).map(tuple),
)
CHUNK = st.builds(OutputChunk, st.sampled_from(OutputStream), NATURAL, st.binary(max_size=100))
STAT = st.builds(FileStat, WORD, st.sampled_from(FileKind), INT64, UINT32, INT64, INT64, INT64, target=WORD)
EVENT = st.builds(FileEvent, TEXT, WORD)
INSIDE = st.builds(GuestMetrics, *[NUMBER] * 4, *[NATURAL] * 5, NUMBER)
METRICS = st.builds(VMMetrics, TEXT, TEXT, TEXT, NUMBER, NATURAL, NATURAL, maybe(INSIDE))
CHECK = st.builds(Check, TEXT, st.booleans(), TEXT, TEXT, required=st.booleans(), group=TEXT)

ALL: dict[str, tuple[st.SearchStrategy[Any], Callable[[Any], Message], Callable[[Any], Any]]] = {
    "size": (SIZE, convert.size_to_pb, convert.size_from_pb),
    "spec": (SPEC, convert.spec_to_pb, convert.spec_from_pb),
    "result": (RESULT, convert.result_to_pb, convert.result_from_pb),
    "execution": (EXECUTION, convert.execution_to_pb, convert.execution_from_pb),
    "chunk": (CHUNK, convert.chunk_to_pb, convert.chunk_from_pb),
    "stat": (STAT, convert.stat_to_pb, convert.stat_from_pb),
    "event": (EVENT, convert.event_to_pb, convert.event_from_pb),
    "metrics": (METRICS, convert.metrics_to_pb, convert.metrics_from_pb),
    "check": (CHECK, convert.check_to_pb, convert.check_from_pb),
}


@pytest.mark.parametrize("kind", ALL)
@given(data=st.data())
def test_there_and_back(kind: str, data: st.DataObject) -> None:
    values, to_pb, from_pb = ALL[kind]
    value = data.draw(values)
    message = to_pb(value)
    assert from_pb(type(message).FromString(message.SerializeToString())) == value


@pytest.mark.parametrize(
    "spec",
    [
        ExecutionSpec(("a\ud800",)),
        ExecutionSpec(("a",), env={"A\udcff": "b"}),
        ExecutionSpec(("a",), user="\udcff"),
        ExecutionSpec(("a",), umask=-1),
        ExecutionSpec(("a",), output_limit=1 << 63),
        ExecutionSpec(("a",), terminal=TerminalSize(1 << 31, 1)),
    ],
)
def test_what_a_message_cannot_hold_is_bad_input(spec: ExecutionSpec) -> None:
    with pytest.raises(InvalidInput):
        convert.spec_to_pb(spec)


def test_words_for_people_are_readable_whatever_is_in_them() -> None:
    result = ExecutionResult(ExecutionState.FAILED, error="no \udcff")
    assert convert.result_from_pb(convert.result_to_pb(result)).error == "no \\udcff"
