"""What specs accept, and what they say about what they do not accept."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from aetherium.domain.errors import InvalidInput
from aetherium.domain.executions import ExecutionResult, ExecutionSpec, ExecutionState
from aetherium.domain.images import check_tag
from aetherium.domain.jobs import ArtifactRule, JobSpec, JobStep, TestSummary
from aetherium.domain.vms import NetworkMode, NetworkPolicy, Resources, VMSpec

STEP = JobStep(name="one", run="true")


@pytest.mark.parametrize(
    "make",
    [
        lambda: Resources(vcpus=0),
        lambda: Resources(memory_mib=127),
        lambda: Resources(disk_mib=15),
        lambda: VMSpec(name="Not A Host"),
        lambda: VMSpec(name="-box"),
        lambda: VMSpec(name="b" * 64),
        lambda: VMSpec(ttl_s=0),
        lambda: VMSpec(idle_timeout_s=-1),
        lambda: VMSpec(idle_action="explode"),
        lambda: VMSpec(labels={"bad key": "x"}),
        lambda: NetworkPolicy(NetworkMode.NONE, allow=("example.org",)),
        lambda: ExecutionSpec(argv=()),
        lambda: ExecutionSpec(argv=("",)),
        lambda: ExecutionSpec(argv=("a\0b",)),
        lambda: ExecutionSpec(argv=("true",), env={"A=B": "c"}),
        lambda: ExecutionSpec(argv=("true",), secret_env={"A": "c\0"}),
        lambda: ExecutionSpec(argv=("true",), timeout_s=0),
        lambda: JobStep(name="both", run="true", argv=("true",)),
        lambda: JobStep(name="neither"),
        lambda: JobSpec(steps=()),
        lambda: JobSpec(steps=(STEP, STEP)),
        lambda: JobSpec(steps=(STEP,), artifacts=(ArtifactRule("a", "x"), ArtifactRule("b", "x"))),
        lambda: check_tag("UPPER"),
        lambda: check_tag("sha256:" + "0" * 64),
    ],
)
def test_unusable_input_is_refused_with_a_reason(make: Callable[[], object]) -> None:
    with pytest.raises(InvalidInput) as caught:
        make()
    assert caught.value.message.endswith(".")


@pytest.mark.parametrize("tag", ["base", "alpine:3.20", "library/python", "a", "team/app:v1.2-rc_3"])
def test_usual_tags_are_accepted(tag: str) -> None:
    assert check_tag(tag) == tag


def test_secrets_do_not_show() -> None:
    spec = ExecutionSpec(argv=("true",), secret_env={"TOKEN": "tell-nobody"})
    assert "tell-nobody" not in repr(spec)


@pytest.mark.parametrize(
    ("result", "code"),
    [
        (ExecutionResult(ExecutionState.EXITED, exit_code=3), 3),
        (ExecutionResult(ExecutionState.SIGNALED, signal=15), 143),
        (ExecutionResult(ExecutionState.TIMED_OUT, signal=9), 124),
        (ExecutionResult(ExecutionState.FAILED, error="no such program"), 127),
        (ExecutionResult(ExecutionState.LOST), 137),
    ],
)
def test_codes_are_those_of_a_shell(result: ExecutionResult, code: int) -> None:
    assert result.shell_code == code
    assert not result.ok


def test_a_summary_counts_what_passed() -> None:
    assert TestSummary(tests=10, failed=2, errors=1, skipped=3).passed == 4
