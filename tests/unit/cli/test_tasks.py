"""What people write for tasks: payloads, priorities, times, quotas; and what is refused before it is sent."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from aetherium.cli import dead_letter, options, project, taskspec, taskview
from aetherium.cli.main import run
from aetherium.domain.errors import InvalidInput
from aetherium.domain.projects import Quota
from aetherium.domain.tasks import Attempt, Priority, Retry, Task, TaskSpec, TaskState

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


def test_ids_and_a_choice_exclude_one_another() -> None:
    assert dead_letter._one_by_one(None, "", "", False)
    with pytest.raises(InvalidInput):
        dead_letter._one_by_one(None, "worker_lost", "", False)


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
