"""Whom a command runs as, in images that have no names of users."""

from __future__ import annotations

import pytest

from aetherium.guest import users


@pytest.fixture(autouse=True)
def no_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(users, "_entries", lambda path, fields: [])
    monkeypatch.setattr("os.geteuid", lambda: 0)


def test_root_is_known_without_an_entry() -> None:
    assert users.lookup("root").name == "root"
    assert users.lookup("root").uid is None, "the agent is root itself: nothing has to be changed"


def test_a_number_needs_no_entry() -> None:
    user = users.lookup("1234:5")
    assert (user.uid, user.gid, user.home) == (1234, 5, "/")


@pytest.mark.parametrize("name", ["nobody", "root:staff"])
def test_other_names_are_unknown(name: str) -> None:
    with pytest.raises(OSError, match="There is no"):
        users.lookup(name)
