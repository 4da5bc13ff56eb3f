"""guest.md tells the truth about names and numbers."""

from __future__ import annotations

from importlib.resources import files

import pytest

from aetherium.channel import connection
from aetherium.guest import connection as agent
from aetherium.guest import execution, executions
from aetherium.guest.agent import _LAZY, Agent
from aetherium.guest.loop import Loop
from aetherium.protocol import frames as f
from aetherium.protocol import messages as m

TEXT = files("aetherium.protocol").joinpath("guest.md").read_text(encoding="utf-8")
METHODS = {value for name, value in vars(m).items() if name.isupper()}
TYPES = (
    *("HELLO", "WELCOME", "INFO", "PING", "PONG", "ERROR", "REQUEST", "RESPONSE", "FAILURE"),
    *("DATA", "OUTPUT", "EVENT", "END", "CREDIT", "RESET"),
)


def _rows(section: str) -> list[list[str]]:
    body = TEXT.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    return [
        [cell.strip(" `") for cell in line.strip("|").split("|")]
        for line in body.splitlines()
        if line.startswith("|")
    ]


def test_every_request_is_told_and_none_else() -> None:
    told = {row[0] for row in _rows("Requests")[2:]}
    assert told == METHODS


@pytest.mark.parametrize("method", sorted(METHODS))
def test_every_request_has_its_parameters_in_both_places(method: str) -> None:
    (row,) = (row for row in _rows("Requests") if row[0] == method)
    assert f"``{method}``" in (m.__doc__ or "")
    for name in row[1].replace(" or nil", "").split(", "):
        assert not name or name in (m.__doc__ or "")


def test_every_request_is_answered() -> None:
    agent_ = Agent(Loop(), init=False, cgroup="")
    assert set(agent_._methods) | set(_LAZY) == METHODS


@pytest.mark.parametrize("name", TYPES)
def test_every_frame_type_is_told(name: str) -> None:
    assert [name, str(getattr(f, name))] in [row[:2] for row in _rows("Frames")]


def test_numbers() -> None:
    for number in (
        f"{f.MAX_PAYLOAD:,}",
        f"{len(f.PADDING):,} bytes of padding",
        f"{f.MARK >> 8:X} {f.MARK & 255:X}",
        f"at least {f.LEAST_COST} bytes",
        f"{agent.MAX_STREAMS:,} may be open",
        f"{connection.RESYNC_S} s",
        f"{connection.MAX_STALE >> 20} MiB",
        f"{connection.MAX_UNSENT >> 20} MiB",
        f"nothing for {connection.HEARTBEAT_S:g} s",
        f"{connection.DEAD_S:g} s, the agent after {agent.DEAD_S:g} s",
        f"or for {execution.STRAGGLER_S} s",
        f"this way for {execution.LINGER_S:g} s",
        f"The last {executions.MAX_ENDED} executions",
    ):
        assert number in TEXT, number
