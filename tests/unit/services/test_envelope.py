"""Envelopes: what opens them, and what does not."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherium.domain.errors import Unavailable
from aetherium.domain.secrets import Secret, SecretRef, SecretScope
from aetherium.interfaces.secrets import SealedSecret, SealedValue, WrappedKey
from aetherium.services.sealing import Sealer
from aetherium.services.secrets.envelope import MasterKeys

MASTERS = MasterKeys("the master key of the tests")
WRAPPED = MASTERS.new_key("kek_0000000000000000")
KEY = MASTERS.open(WRAPPED)
REF = SecretRef("prj_0000000000000000", "TOKEN", SecretScope.JOB, "nightly")
AT = datetime(2026, 3, 4, tzinfo=UTC)


def sealed(text: str = "value") -> SealedSecret:
    """As a row has it."""
    secret = Secret("sec_0", REF.project_id, REF.scope, REF.target, REF.name, 3, AT, AT, "me")
    return SealedSecret(secret, KEY.seal(text, REF, secret.id, secret.version), WRAPPED)


@given(st.text(min_size=1))
def test_a_value_comes_back_and_is_not_seen(text: str) -> None:
    found = sealed(text)
    assert KEY.open(found) == text
    if len(text.encode()) > 4:
        assert text.encode() not in found.value.sealed + found.value.wrapped


def test_nothing_is_sealed_twice_alike() -> None:
    one, other = sealed(), sealed()
    assert one.value.sealed != other.value.sealed
    assert one.value.wrapped[13:] != other.value.wrapped[13:]


def test_a_value_belongs_where_it_is() -> None:
    found = sealed()
    moved: dict[str, Any] = {
        "id": "sec_1",
        "version": 2,
        "project_id": "prj_1",
        "scope": SecretScope.IMAGE,
        "target": "weekly",
        "name": "OTHER",
    }
    for name, other in moved.items():
        elsewhere = replace(found, secret=replace(found.secret, **{name: other}))
        for attempt in (KEY.open, lambda each: KEY.move(each, KEY)):
            with pytest.raises(Unavailable, match="changed in the database"):
                attempt(elsewhere)


@given(st.data())
def test_a_changed_byte_is_found(data: st.DataObject) -> None:
    found = sealed()
    part = data.draw(st.sampled_from(("sealed", "wrapped")))
    raw = bytearray(getattr(found.value, part))
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    cut = bytes(raw[: data.draw(st.integers(0, len(raw)))])
    for changed in (bytes(raw), cut):
        parts: dict[str, Any] = {part: changed}
        with pytest.raises(Unavailable, match="changed in the database"):
            KEY.open(replace(found, value=replace(found.value, **parts)))


def test_a_data_key_moves_and_the_value_stays() -> None:
    found = sealed()
    other = MASTERS.open(MASTERS.new_key("kek_0000000000000001"))
    moved = KEY.move(found, other)
    assert (moved.key_id, moved.sealed) == (other.id, found.value.sealed)
    assert other.open(replace(found, value=moved)) == "value"
    with pytest.raises(Unavailable):
        KEY.open(replace(found, value=moved))


def test_a_key_needs_its_master_key() -> None:
    with pytest.raises(Unavailable, match="master_key_previous"):
        MasterKeys("another master key").open(WRAPPED)
    both = MasterKeys("another master key", "the master key of the tests")
    assert both.open(WRAPPED) == KEY
    anew = both.wrap(KEY)
    assert anew.master == both.id != MASTERS.id
    assert MasterKeys("another master key").open(anew) == KEY


def test_a_key_has_its_id() -> None:
    with pytest.raises(Unavailable, match="changed in the database"):
        MASTERS.open(WrappedKey("kek_0000000000000001", WRAPPED.master, WRAPPED.wrapped))


def test_the_id_of_a_master_key_stays() -> None:
    assert MasterKeys("the master key of the tests").id == MASTERS.id
    assert len(MASTERS.id) == 16


def test_keys_and_values_are_not_shown() -> None:
    shown = repr((KEY, WRAPPED, sealed().value, SealedValue("kek", KEY.secret, KEY.secret)))
    assert repr(KEY.secret)[2:-1] not in shown
    assert "wrapped=" not in shown


def test_what_waits_is_opened_with_the_previous_master_key() -> None:
    waits = Sealer("0123456789abcdef").seal({"A": "b"}, "task_1")
    assert Sealer("fedcba9876543210", "0123456789abcdef").open(waits, "task_1") == {"A": "b"}
    with pytest.raises(Unavailable, match="master_key_previous"):
        Sealer("fedcba9876543210").open(waits, "task_1")
    anew = Sealer("fedcba9876543210", "0123456789abcdef").seal({"A": "b"}, "task_1")
    with pytest.raises(Unavailable):
        Sealer("0123456789abcdef").open(anew, "task_1")
