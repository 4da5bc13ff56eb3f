"""The table from errors to problem documents, and the way back in the client."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from aetherium.client import errors as client_errors
from aetherium.domain.errors import (
    AetheriumError,
    Conflict,
    GuestError,
    InvalidInput,
    NotFound,
    ToolMissing,
    Unsupported,
)
from aetherium.gateway import problems


def _tree(kind: type[AetheriumError] = AetheriumError) -> Iterator[type[AetheriumError]]:
    yield kind
    for inner in kind.__subclasses__():
        if inner.__module__.startswith("aetherium.domain."):
            yield from _tree(inner)


def test_every_error_has_a_status_and_comes_back_as_itself() -> None:
    for kind in _tree():
        assert kind.code in problems.STATUS, kind
        assert client_errors.CLASSES[kind.code] is kind


def test_a_finer_error_of_an_adapter_has_the_status_of_what_it_refines() -> None:
    class Finer(InvalidInput):
        code = "finer"

    assert problems.status_of(Finer("Wrong.")) == 422


@pytest.mark.parametrize(
    "error",
    [
        NotFound("VM", "box", hint="List them."),
        Unsupported("fork", "fake"),
        ToolMissing("git", "git"),
        InvalidInput("Wrong.", hint="Do it right.", field="x", value=[1, None]),
    ],
)
def test_an_error_survives_the_way_through_http(error: AetheriumError) -> None:
    document = problems.document(error)
    back = client_errors.rebuild(document)
    assert type(back) is type(error)
    assert (back.message, back.hint, back.details) == (error.message, error.hint, dict(error.details))
    assert document["status"] == problems.STATUS[error.code]
    assert document["type"].endswith(error.code)


def test_an_unknown_code_is_still_an_error() -> None:
    back = client_errors.rebuild({"code": "of_the_future", "detail": "New."})
    assert type(back) is AetheriumError
    assert back.message == "New."


def test_what_the_guests_kernel_said_has_its_own_status() -> None:
    assert problems.status_of(GuestError("no", errno="ENOENT")) == 404
    assert problems.status_of(GuestError("no", errno="EACCES")) == 403
    assert problems.status_of(GuestError("no", errno="E2BIG")) == 422


def test_groups_are_unwrapped_only_when_all_is_foreseen() -> None:
    ours = Conflict("Busy.")
    assert problems.as_domain_error(ExceptionGroup("g", [ExceptionGroup("h", [ours])])) is ours
    assert problems.as_domain_error(ExceptionGroup("g", [ours, KeyError("x")])) is None
