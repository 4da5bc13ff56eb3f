"""JSON forms: bytes, hidden fields, unknown keys."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherium.client.values import dump, load, load_bytes
from aetherium.domain.errors import InvalidInput, ProtocolViolation
from aetherium.domain.jobs import (
    ArchiveSource,
    BundleSource,
    DirectorySource,
    GitSource,
    JobSource,
    JobSpec,
    JobStep,
)
from aetherium.domain.vms import VM
from aetherium.gateway import wire
from aetherium.gateway.rest.bodies import JobSubmit, VMCreate


@given(st.binary())
def test_bytes_survive(data: bytes) -> None:
    assert load_bytes(wire.encode_bytes(data)) == data


@pytest.mark.parametrize(
    "source",
    [GitSource("u", "r", None), DirectorySource("d"), BundleSource("b"), ArchiveSource("a", 1)],
)
def test_a_jobs_source_keeps_its_kind(source: JobSource) -> None:
    spec = JobSpec(steps=(JobStep("s", "true"),), source=source)
    assert load(JobSpec, dump(spec)) == spec


def test_unknown_keys_are_refused_with_the_nearest_at_any_depth() -> None:
    check = wire.refusing_unknown_keys(VMCreate).func
    check({"image": "x", "resources": {"vcpus": 1}})  # type: ignore[call-arg]
    with pytest.raises(InvalidInput, match="memry_mib") as caught:
        check({"resources": {"memry_mib": 1}})  # type: ignore[call-arg]
    assert "memory_mib" in caught.value.hint
    jobs = wire.refusing_unknown_keys(JobSubmit).func
    with pytest.raises(InvalidInput, match=r"spec\.steps\[0\]"):
        jobs({"spec": {"steps": [{"name": "a", "rnu": "x"}]}})  # type: ignore[call-arg]
    jobs({"spec": {"steps": [], "env": {"ANY": "1"}}})  # type: ignore[call-arg]


def test_an_answer_that_does_not_fit_is_a_violation() -> None:
    with pytest.raises(ProtocolViolation, match="VM"):
        load(VM, {"id": 1})
