"""Identifiers."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherium.domain import ids
from aetherium.domain.errors import InvalidInput

KINDS = (ids.VM, ids.EXECUTION, ids.SNAPSHOT, ids.JOB, ids.TASK, ids.ARTIFACT, ids.STEP)


@pytest.mark.parametrize("prefix", KINDS)
def test_fresh_ones_have_the_form_of_their_kind(prefix: str) -> None:
    made = {ids.new_id(prefix) for _ in range(1000)}
    assert len(made) == 1000
    assert all(ids.is_id(each, prefix) for each in made)
    assert not any(ids.is_id(each, "other") for each in made)


def test_they_sort_by_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_800_000_000_000_000_000
    made = []
    for step in range(100):
        monkeypatch.setattr(time, "time_ns", lambda step=step: now + step * 1_000_000)
        made.append(ids.new_id(ids.VM))
    assert made == sorted(made)


@given(st.text(max_size=40))
def test_other_text_is_refused(text: str) -> None:
    if ids.is_id(text, ids.VM):
        assert ids.check_id(text, ids.VM) == text
        return
    with pytest.raises(InvalidInput) as caught:
        ids.check_id(text, ids.VM)
    assert repr(text) in caught.value.message
