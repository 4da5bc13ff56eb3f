"""Whatever a client sends, the agent lives, stays small, and serves the next one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aetherium.domain.executions import ExecutionSpec
from aetherium.protocol import frames as f
from aetherium.protocol import messages as m
from aetherium.protocol.values import spec_to_wire
from tests.unit.guest.clients import Client, nobodys_agent, request, rss_kib

METHODS = sorted(value for name, value in vars(m).items() if name.isupper() and value != m.POWER_OFF)
NONCE = bytes(range(16))
SPEC = spec_to_wire(ExecutionSpec(("cat",), stdin=True))
fuzz = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
async def agent(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[str, int]]:
    async with nobodys_agent(tmp_path_factory.mktemp("fuzz")) as found:
        yield found


def survives(agent: tuple[str, int], *pieces: bytes) -> None:
    """Send the pieces on one connection; another one must be served as if nothing had happened."""
    path, pid = agent
    with Client(path) as client:
        for piece in pieces:
            client.send(piece)
        with Client(path) as other:
            other.greet()
            assert other.call(1, m.PING, {}) == {}
    assert rss_kib(pid) < 96 * 1024


@fuzz
@given(data=st.binary(max_size=3000))
def test_any_bytes(agent: tuple[str, int], data: bytes) -> None:
    survives(agent, data)
    survives(agent, f.hello(NONCE), data)


wild = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.text(max_size=20)
    | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)
plausible: dict[str, st.SearchStrategy[Any]] = {
    "id": st.sampled_from(["a", "b"]),
    "spec": st.just(SPEC)
    | st.builds(lambda key, value: SPEC | {key: value}, st.sampled_from(sorted(SPEC)), wild),
    "path": st.sampled_from(
        ["/proc/self/cwd/fuzz", "/tmp", "/proc/self/environ", "/dev/zero", "x", "/\0", "/no/such"]
    ),
    "stdout": st.integers(-5, 2**63 - 1),
    "stderr": st.integers(-5, 2**63 - 1),
    "token": st.binary(max_size=80),
    "input": st.binary(max_size=80),
    "eof": st.booleans(),
    "signal": st.sampled_from([0, 1, 9, 15, 64, 65, -1, 2**40]),
    "rows": st.integers(-1, 2**40),
    "columns": st.integers(-1, 2**40),
    "offset": st.none() | st.integers(-1, 2**63 - 1),
    "length": st.none() | st.integers(-1, 2**63 - 1),
    "mode": st.none() | st.integers(-1, 2**40),
    "user": st.none() | st.sampled_from(["nobody", "root", "no one", "1:2", ":", "99999999999999999999"]),
    "parents": st.booleans(),
    "recursive": st.just(False),
    "source": st.just("/proc/self/cwd/fuzz"),
    "target": st.just("/proc/self/cwd/fuzz"),
    "include": st.lists(st.text(alphabet="a*?[]!/\\^-", max_size=10), max_size=3),
    "exclude": st.lists(st.text(alphabet="a*?[]!/\\^-", max_size=10), max_size=3),
    "hostname": st.text(max_size=10),
    "machine_id": st.text(max_size=32),
    "seed": st.binary(max_size=40),
    "time_ns": st.integers(-(2**63), 2**63 - 1),
}  # fmt: skip


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """A request whose parameters are mostly of the right kind."""
    params = {key: draw(strategy) for key, strategy in plausible.items()}
    for key in draw(st.lists(st.sampled_from(sorted(params)), max_size=2)):
        params[key] = draw(wild)
    for key in draw(st.lists(st.sampled_from(sorted(params)), max_size=1)):
        params.pop(key, None)
    window = draw(st.sampled_from([f.INITIAL_CREDIT, f.INITIAL_CREDIT, 1, -1, 2**50]))
    return request(draw(st.integers(0, 6)), draw(st.sampled_from(METHODS)), params, window)


anything = st.builds(
    f.encode,
    st.integers(0, 30),
    st.integers(0, 6),
    st.binary(max_size=40),
    st.integers(0, 3),
)


@fuzz
@given(frames=st.lists(requests() | anything, max_size=12))
def test_any_requests(agent: tuple[str, int], frames: list[bytes]) -> None:
    survives(agent, f.hello(NONCE), *frames)


RUN = {"id": "s", "spec": SPEC, "stdout": 0, "stderr": 0, "token": b"t", "input": b"in", "eof": False}
SESSION = (
    f.hello(NONCE)
    + request(1, m.EXEC_RUN, RUN)
    + f.encode(f.DATA, 1, b"more")
    + request(2, m.FILE_LIST, {"path": "/proc"})
    + f.encode(f.CREDIT, 2, (100).to_bytes(4, "big"))
    + request(3, m.ARCHIVE_OUT, {"path": "/etc/hostname", "include": [], "exclude": []})
    + f.encode(f.END, 1)
    + request(4, m.FILE_WATCH, {"path": "/tmp"})
    + f.encode(f.RESET, 4)
    + request(5, m.EXEC_ATTACH, {"id": "s", "stdout": 0, "stderr": 0, "token": b"u"})
    + request(6, m.ARCHIVE_IN, {"path": "/proc/self/cwd/fuzz", "user": None})
    + f.encode(f.DATA, 6, bytes(1024))
    + f.encode(f.END, 6)
    + request(7, m.EXEC_KILL, {"id": "s"})
    + request(8, m.EXEC_FORGET, {"id": "s"})
)  # fmt: skip


@fuzz
@given(
    changes=st.lists(
        st.tuples(st.integers(0, len(SESSION)), st.integers(0, 4), st.binary(max_size=4)), max_size=6
    )
)
def test_mutated_sessions(agent: tuple[str, int], changes: list[tuple[int, int, bytes]]) -> None:
    session = bytearray(SESSION)
    for at, removed, inserted in changes:
        session[at : at + removed] = inserted
    survives(agent, bytes(session))


def test_a_client_that_never_reads(agent: tuple[str, int]) -> None:
    path, pid = agent
    with Client(path) as deaf:
        deaf.greet()
        read = request(1, m.FILE_READ, {"path": "/dev/zero", "offset": 0, "length": None}, 2**40)
        deaf.send(read)
        survives(agent, f.hello(NONCE), f.encode(f.PING, 0, bytes(64)) * 20_000)
    assert rss_kib(pid) < 96 * 1024


@pytest.mark.parametrize(
    "change",
    [{"timeout": float("inf")}, {"timeout": float("nan")}, {"timeout": -1.0}, {"timeout": 1e300},
     {"user": [1]}, {"argv": []}, {"argv": [1]}, {"env": {"A": 1}},
     {"limits": {"open_files": 0}}, {"terminal": [0, 0]},
     {"terminal": [1]}, {"umask": 2**62}, {"output_limit": -1}, {"cwd": "\0"}],
    ids=str,
)  # fmt: skip
def test_specs_of_a_wrong_shape(agent: tuple[str, int], change: dict[str, Any]) -> None:
    with Client(agent[0]) as client:
        client.greet()
        answer = client.call(1, m.EXEC_START, {"id": "w", "spec": SPEC | change})
        assert answer["errno"] == "EINVAL"
        assert client.call(2, m.PING, {}) == {}


def test_more_streams_than_allowed(agent: tuple[str, int]) -> None:
    many = b"".join(
        request(n, m.FILE_READ, {"path": "/dev/zero", "offset": 0, "length": None}) for n in range(1, 3000)
    )
    survives(agent, f.hello(NONCE), many)
    unfinished = b"".join(f.encode(f.REQUEST, n, bytes(f.MAX_PAYLOAD), f.FLAG_MORE) for n in range(1, 300))
    survives(agent, f.hello(NONCE), unfinished)


def test_more_than_credit(agent: tuple[str, int]) -> None:
    with Client(agent[0]) as client:
        client.greet()
        run = RUN | {"id": "flood", "spec": SPEC | {"argv": ["sleep", "100"]}}
        client.send(request(1, m.EXEC_RUN, run) + f.encode(f.DATA, 1, bytes(f.MAX_PAYLOAD)) * 3)
        while (frame := client.next())[0] != f.FAILURE:
            continue
        assert b"EOVERFLOW" in frame[3]
        assert client.call(2, m.EXEC_KILL, {"id": "flood"}) == {}
