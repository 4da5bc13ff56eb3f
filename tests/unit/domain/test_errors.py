"""The tree of errors: what clients may rely on."""

from __future__ import annotations

import inspect
import re

from aetherium.domain import errors
from aetherium.domain.errors import AetheriumError, NotFound, ToolMissing, Unsupported

ALL = [
    value
    for value in vars(errors).values()
    if inspect.isclass(value) and issubclass(value, AetheriumError) and value.__module__ == errors.__name__
]


def test_every_class_has_a_code_of_its_own() -> None:
    codes = [each.code for each in ALL]
    assert sorted(set(codes)) == sorted(codes)
    assert all(re.fullmatch(r"[a-z_]+", code) for code in codes)


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    drawn = re.findall(r"^[│├└─ ]*\b([A-Z][A-Za-z]+)\b", errors.__doc__ or "", flags=re.MULTILINE)
    names = {each.__name__ for each in ALL}
    assert names <= set(drawn), names - set(drawn)
    assert {name for name in drawn if name in names or name.endswith("Error")} == names


def test_the_hint_is_part_of_the_text() -> None:
    assert str(AetheriumError("It broke.", hint="Mend it.")) == "It broke. Mend it."
    assert str(AetheriumError("It broke.")) == "It broke."


def test_they_carry_data() -> None:
    assert NotFound("VM", "box").details == {"kind": "VM", "ref": "box"}
    assert ToolMissing("skopeo", "skopeo").details == {"tool": "skopeo", "package": "skopeo"}
    assert Unsupported("fork", "fake").details == {"capability": "fork", "driver": "fake"}
