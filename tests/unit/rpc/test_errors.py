"""Every error of the tree crosses gRPC as itself, and nothing else does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from grpc import StatusCode
from grpc.aio import AioRpcError, Metadata
from hypothesis import given
from hypothesis import strategies as st

from aetherium.client import errors as client_errors
from aetherium.domain.errors import (
    AetheriumError,
    DeadlineExceeded,
    GuestError,
    InvalidInput,
    LimitExceeded,
    NotFound,
    ToolMissing,
    Unavailable,
    Unsupported,
)
from aetherium.protocol.generated import errors_pb2
from aetherium.rpc import errors

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 63) - 1)
    | st.floats(allow_nan=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def _tree(kind: type[AetheriumError] = AetheriumError) -> Iterator[type[AetheriumError]]:
    yield kind
    for inner in kind.__subclasses__():
        if inner.__module__.startswith("aetherium.domain."):
            yield from _tree(inner)


def _crossed(error: AetheriumError) -> AetheriumError:
    message = errors.describe(error).SerializeToString()
    return errors.restore(errors_pb2.ErrorDetails.FromString(message))


def _status(code: StatusCode, *trailing: tuple[str, bytes]) -> AioRpcError:
    return AioRpcError(code, Metadata(), Metadata(*trailing), "said by gRPC", None)


@pytest.mark.parametrize("kind", list(_tree()))
def test_every_error_comes_back_as_itself(kind: type[AetheriumError]) -> None:
    error = kind.__new__(kind)
    AetheriumError.__init__(error, "What was wrong.", hint="What to do.", field="name", n=1, f=1.0, x=[None])
    back = _crossed(error)
    assert type(back) is kind
    assert (back.message, back.hint, str(back)) == (error.message, error.hint, str(error))
    assert json.dumps(back.details, sort_keys=True) == json.dumps(error.details, sort_keys=True)
    assert errors.status_of(error) is not StatusCode.OK


def test_the_table_has_what_the_client_has() -> None:
    assert errors.CLASSES == client_errors.CLASSES


@pytest.mark.parametrize(
    "error", [NotFound("VM", "box"), ToolMissing("skopeo", "skopeo"), Unsupported("fork", "fake")]
)
def test_errors_with_arguments_of_their_own_are_not_worded_anew(error: AetheriumError) -> None:
    assert str(_crossed(error)) == str(error)


@given(st.dictionaries(st.text(), JSON, max_size=4))
def test_details_are_kept(details: dict[str, Any]) -> None:
    error = InvalidInput("Wrong.")
    error.details = details
    surrogates = any("\ud800" <= char <= "\udfff" for char in str(details))
    assert surrogates or _crossed(error).details == details


def test_an_error_that_is_too_large_goes_without_its_details() -> None:
    error = InvalidInput("x" * 10_000, console="y" * 100_000)
    assert errors.describe(error).ByteSize() < errors.DETAILS_MAX
    assert type(_crossed(error)) is InvalidInput


def test_a_finer_error_is_told_as_what_it_refines() -> None:
    class Finer(InvalidInput):
        code = "finer"

    assert type(_crossed(Finer("Wrong."))) is InvalidInput
    assert errors.status_of(Finer("Wrong.")) is StatusCode.INVALID_ARGUMENT


def test_a_code_that_nobody_knows_is_an_error_of_ours() -> None:
    assert type(errors.restore(errors_pb2.ErrorDetails(code="os.system", message="x"))) is AetheriumError


def test_what_is_not_foreseen_leaves_only_a_number() -> None:
    told = errors.as_ours(RuntimeError("the secret"))
    assert type(told) is AetheriumError
    assert "secret" not in str(told)
    assert told.details["incident"] in told.hint
    assert errors.as_ours(ExceptionGroup("", [NotFound("VM", "box")])).code == "not_found"


def test_what_grpc_says_itself() -> None:
    for code in (StatusCode.UNAVAILABLE, StatusCode.CANCELLED, StatusCode.INTERNAL, StatusCode.UNKNOWN):
        assert type(errors.rebuild(_status(code))) is errors.Cut
    assert type(errors.rebuild(_status(StatusCode.DEADLINE_EXCEEDED))) is DeadlineExceeded
    assert type(errors.rebuild(_status(StatusCode.RESOURCE_EXHAUSTED))) is LimitExceeded
    assert type(errors.rebuild(_status(StatusCode.UNAUTHENTICATED))) is Unavailable
    assert type(errors.rebuild(_status(StatusCode.UNIMPLEMENTED))) is AetheriumError


def test_what_a_handler_says() -> None:
    details = errors.describe(NotFound("VM", "box")).SerializeToString()
    back = errors.rebuild(_status(StatusCode.UNAVAILABLE, (errors.DETAILS_KEY, details)))
    assert type(back) is NotFound
    broken = errors.rebuild(_status(StatusCode.UNAVAILABLE, (errors.DETAILS_KEY, b"\xff\xff")))
    assert type(broken) is AetheriumError


@pytest.mark.parametrize(
    ("errno", "code"),
    [
        ("ENOENT", StatusCode.NOT_FOUND),
        ("EACCES", StatusCode.PERMISSION_DENIED),
        ("ENOSPC", StatusCode.RESOURCE_EXHAUSTED),
        ("EIO", StatusCode.FAILED_PRECONDITION),
    ],
)
def test_what_the_guests_kernel_said_has_a_status(errno: str, code: StatusCode) -> None:
    assert errors.status_of(GuestError("It failed.", errno=errno)) is code
