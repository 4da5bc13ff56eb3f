"""What people write for tasks: payloads, priorities, times, quotas; and what is refused before it is sent."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest

from aetherium.cli import dead_letter, options, project, taskspec, taskview
from aetherium.cli.main import run
from aetherium.cli.output import Output
from aetherium.cli.runtime import Command
from aetherium.domain.errors import InvalidInput
from aetherium.domain.projects import Quota
from aetherium.domain.tasks import Attempt, Priority, Retry, Task, TaskSpec, TaskState
from aetherium.settings import Settings

_NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_a_payload_is_an_object_with_single_values_over_it(tmp_path: Path) -> None:
    assert taskspec.payload(None, None) == {}
    given = ["n=2", "text=two words", "list=[1]", 'quoted="2"']
    assert taskspec.payload('{"n": 1, "other": null}', given) == {
        "n": 2,
        "other": None,
        "text": "two words",
        "list": [1],
        "quoted": "2",
    }
    file = tmp_path / "p.json"
    file.write_text('{"a": 1}')
    assert taskspec.payload(f"@{file}", None) == {"a": 1}


@pytest.mark.parametrize("text", ["{", "[1]", "@/nonexistent"])
def test_what_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="payload"):
        taskspec.payload(text, None)
    with pytest.raises(InvalidInput, match="--set"):
        taskspec.payload(None, [text])


def test_priorities_have_names() -> None:
    assert taskspec.priority("low") is Priority.LOW
    with pytest.raises(InvalidInput, match="urgent") as caught:
        taskspec.priority("urgent")
    assert "critical" in caught.value.hint


def test_without_options_the_retries_are_the_types() -> None:
    assert taskspec.retry(None, None) == Retry()
    assert taskspec.retry(5, "10m") == Retry(5, 600.0, 600.0)


def test_times_are_of_this_machines_zone_unless_they_say_so() -> None:
    assert options.moment("2026-12-24T17:00Z", "at") == datetime(2026, 12, 24, 17, tzinfo=UTC)
    assert options.moment("2026-12-24T17:00", "at") == datetime(2026, 12, 24, 17).astimezone()
    with pytest.raises(InvalidInput, match="tomorrow"):
        options.moment("tomorrow", "at")


def test_a_quota_changes_where_something_is_given() -> None:
    before = Quota(tasks=1, vms=2)
    assert project._changed(before, None, "none", "4", "2G", None, None) == Quota(
        tasks=1, vcpus=4, memory_mib=2048
    )
    with pytest.raises(InvalidInput, match="many"):
        project._changed(before, "many", None, None, None, None, None)


@pytest.mark.parametrize(
    "given",
    [
        (None, None, "", "", False),
        (["task_1"], None, "worker_lost", "", False),
        (["task_1"], None, "", "", True),
        (None, ["vm.create"], "", "", True),
    ],
)
def test_which_dead_letters_are_meant_is_clear(given: tuple[Any, ...]) -> None:
    with pytest.raises(InvalidInput, match="not clear"):
        dead_letter._choice(*given)


def test_the_question_names_what_was_chosen() -> None:
    assert dead_letter._choice(None, None, "", "", True) == "all dead letters"
    chosen = dead_letter._choice(None, ["a.b", "c.d"], "lost", "night", False)
    assert chosen == "all dead letters of type a.b or c.d, error lost, group night"
    assert dead_letter._choice(["task_1"], None, "", "", False)


class Terminal(io.StringIO):
    """A keyboard at which somebody has typed."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("verb", ["requeue", "discard"])
def test_a_no_leaves_all_as_it_is(
    verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal("n\n"))
    monkeypatch.setattr(dead_letter, "execute", _never)
    assert run(["dead-letter", verb, "--type", "vm.create"]) == 1
    assert "all dead letters of type vm.create?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("stdin", "more"), [(io.StringIO("y\n"), []), (Terminal("y\n"), ["--json"])], ids=["piped", "json"]
)
def test_programs_are_not_asked(
    stdin: io.StringIO,
    more: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.stdin", stdin)
    monkeypatch.setattr(dead_letter, "execute", _never)
    assert run(["dead-letter", "discard", "--all", *more]) == 2
    shown = capsys.readouterr()
    assert "--yes" in shown.out + shown.err


def _never(*_: object, **__: object) -> None:
    raise AssertionError("The command was carried out.")


class Lent(Command):
    """A command whose platform stays, or does not."""

    def __init__(self, *, stays: bool) -> None:
        super().__init__(cast(Settings, None), Output())
        self._stays = stays

    async def stays(self) -> bool:
        return self._stays


@pytest.mark.parametrize(
    ("stays", "state", "worker", "warned"),
    [
        (False, TaskState.QUEUED, None, True),
        (False, TaskState.BLOCKED, None, True),
        (False, TaskState.QUEUED, "wkr_1", False),
        (False, TaskState.DEAD, None, False),
        (True, TaskState.QUEUED, None, False),
    ],
)
async def test_a_task_that_nobody_carries_out_is_warned_of(
    stays: bool,
    state: TaskState,
    worker: str | None,
    warned: bool,
    capsys: pytest.CaptureFixture[str],
) -> None:
    task = Task("task_1", "default", TaskSpec("a.b"), state, _NOW, _NOW, worker_id=worker)
    await taskview.warn_if_idle(Lent(stays=stays), task)
    assert ("aetherium up" in capsys.readouterr().err) is warned


def test_control_characters_of_errors_do_not_reach_the_terminal() -> None:
    task = Task(
        "task_1", "default", TaskSpec("a.b", group="\x1b[2J"), TaskState.DEAD, _NOW, _NOW, error="\x1b[2J"
    )
    attempt = Attempt(1, _NOW, _NOW, "wkr_1", "internal", "\x1b[2J")
    facts = dict(taskview.facts(task, [attempt]))
    assert facts["state"] == "dead"
    assert "internal" in facts["attempt 1"]
    assert not any("\x1b" in value for value in facts.values())


@pytest.mark.parametrize(
    "wrong",
    [
        ["task", "submit"],
        ["queue", "limit", "--rate", "much"],
        ["event", "list", "--limit", "0"],
        ["schedule", "create", "only-a-name"],
    ],
)
def test_wrong_usage_is_said_without_a_platform(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(wrong) == 2
    assert "--help" in capsys.readouterr().err
