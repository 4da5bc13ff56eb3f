"""Errors across gRPC: one table from the error tree to status codes, and one from code to class back.

A status has one short text; all else of an error (code, hint, details) goes as ErrorDetails in the trailing
metadata, or in a message where the peer may still be sending: gRPC for Python then reports that this failed,
and forgets what the status said. What comes without details was not said by our handlers but by gRPC itself:
`Cut` if the connection, and with it the answer, was lost.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from traceback import format_exception
from typing import Any, cast

import grpc
import structlog
from google.protobuf.message import DecodeError
from grpc.aio import AioRpcError, Metadata

from aetherium.domain import errors
from aetherium.domain.errors import AetheriumError, DeadlineExceeded, LimitExceeded, Unavailable
from aetherium.process import ProcessFailed
from aetherium.protocol.generated import errors_pb2
from aetherium.rpc.convert import readable

log = structlog.get_logger(__name__)

DETAILS_KEY = "aetherium-error-bin"
# Both sides take this much metadata (rpc/options.py); an error with more goes without its details.
DETAILS_MAX = 24 * 1024
_TEXT_MAX = 4096

_Code = grpc.StatusCode
STATUS: Mapping[type[AetheriumError], grpc.StatusCode] = {
    AetheriumError: _Code.INTERNAL,
    errors.InvalidInput: _Code.INVALID_ARGUMENT,
    errors.JobFileInvalid: _Code.INVALID_ARGUMENT,
    errors.IdempotencyMismatch: _Code.INVALID_ARGUMENT,
    errors.NotFound: _Code.NOT_FOUND,
    errors.Conflict: _Code.FAILED_PRECONDITION,
    errors.AlreadyExists: _Code.ALREADY_EXISTS,
    errors.InvalidTransition: _Code.FAILED_PRECONDITION,
    errors.InProgress: _Code.ABORTED,
    errors.Unsupported: _Code.UNIMPLEMENTED,
    errors.Unauthenticated: _Code.UNAUTHENTICATED,
    errors.Forbidden: _Code.PERMISSION_DENIED,
    errors.LimitExceeded: _Code.RESOURCE_EXHAUSTED,
    errors.RateLimited: _Code.RESOURCE_EXHAUSTED,
    errors.DeadlineExceeded: _Code.DEADLINE_EXCEEDED,
    errors.Unavailable: _Code.UNAVAILABLE,
    errors.ToolMissing: _Code.FAILED_PRECONDITION,
    errors.VMFailed: _Code.ABORTED,
    errors.BootFailed: _Code.ABORTED,
    errors.VMCrashed: _Code.ABORTED,
    errors.VMUnresponsive: _Code.ABORTED,
    errors.GuestError: _Code.FAILED_PRECONDITION,
    errors.ProtocolViolation: _Code.ABORTED,
    errors.ChannelClosed: _Code.ABORTED,
    errors.ImageFailed: _Code.FAILED_PRECONDITION,
    errors.SourceFailed: _Code.FAILED_PRECONDITION,
    ProcessFailed: _Code.ABORTED,
}
# What the guest's kernel said, where gRPC has a word for it.
_ERRNO_STATUS = {
    "ENOENT": _Code.NOT_FOUND,
    "ESRCH": _Code.NOT_FOUND,
    "EACCES": _Code.PERMISSION_DENIED,
    "EPERM": _Code.PERMISSION_DENIED,
    "EROFS": _Code.PERMISSION_DENIED,
    "EEXIST": _Code.ALREADY_EXISTS,
    "ENOSPC": _Code.RESOURCE_EXHAUSTED,
    "EDQUOT": _Code.RESOURCE_EXHAUSTED,
}
CLASSES: Mapping[str, type[AetheriumError]] = {kind.code: kind for kind in STATUS}

# What gRPC says when the connection goes: CANCELLED of a server that shuts down, INTERNAL of a message that
# was being sent.
_CUTS = frozenset({_Code.UNAVAILABLE, _Code.CANCELLED, _Code.UNKNOWN, _Code.INTERNAL})


class Cut(Exception):
    """The connection was lost before the answer came; whether the request arrived is not known."""


def status_of(error: AetheriumError) -> grpc.StatusCode:
    """The status for an error."""
    if isinstance(error, errors.GuestError):
        return _ERRNO_STATUS.get(str(error.details.get("errno", "")), STATUS[errors.GuestError])
    return STATUS[_kind(error)]


def as_ours(error: BaseException) -> AetheriumError:
    """The error of our tree that `error` is or carries. What is not foreseen goes to the log, and only the
    number under which it is found there leaves the process."""
    leaves = list(_leaves(error))
    ours = [leaf for leaf in leaves if isinstance(leaf, AetheriumError)]
    if ours and len(ours) == len(leaves):
        return ours[0]
    incident = secrets.token_hex(4)
    # As text: a renderer that shows local variables would show secrets.
    log.error("unforeseen error", incident=incident, traceback="".join(format_exception(error)))
    return AetheriumError(
        "Something went wrong inside Aetherium.",
        hint=f"The log of the process that answered has the details under incident {incident}.",
        incident=incident,
    )


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def describe(error: AetheriumError) -> errors_pb2.ErrorDetails:
    """An error as a message."""
    message = errors_pb2.ErrorDetails(
        code=_kind(error).code,
        message=readable(error.message[:_TEXT_MAX]),
        hint=readable(error.hint[:_TEXT_MAX]),
        details={readable(str(key)): _value_to_pb(value) for key, value in error.details.items()},
    )
    if message.ByteSize() > DETAILS_MAX:
        message.ClearField("details")
    return message


def restore(message: errors_pb2.ErrorDetails) -> AetheriumError:
    """Back from `describe`; an unknown code gives an AetheriumError."""
    kind = CLASSES.get(message.code, AetheriumError)
    error = kind.__new__(kind)
    # Not kind.__init__: some take other arguments and would word the message anew.
    AetheriumError.__init__(error, message.message, hint=message.hint)
    error.details = {key: _value_from_pb(value) for key, value in message.details.items()}
    return error


def rebuild(error: AioRpcError) -> AetheriumError | Cut:
    """What a failed call tells."""
    trailing = cast(Metadata | None, error.trailing_metadata())
    details = trailing.get(DETAILS_KEY) if trailing is not None else None
    if isinstance(details, bytes):
        return _unpacked(details)
    code, text = error.code(), error.details() or "no reason was given"
    if code in _CUTS:
        return Cut(text)
    if code is _Code.DEADLINE_EXCEEDED:
        return DeadlineExceeded("The worker did not answer before the deadline.")
    if code is _Code.RESOURCE_EXHAUSTED:
        return LimitExceeded(f"The worker's answer is too large: {text}.")
    if code is _Code.UNAUTHENTICATED:
        return Unavailable(
            "The worker does not accept this gateway's token.",
            hint="Give all processes of the cluster the same cluster_token.",
        )
    if code is _Code.PERMISSION_DENIED:
        return Unavailable(
            f"The worker refuses this gateway: {text}",
            hint="Give it a certificate of its own: aetherium certs issue NAME --kind gateway",
        )
    return AetheriumError(f"The worker failed: {text} ({code.name}).")


def _unpacked(data: bytes) -> AetheriumError:
    try:
        return restore(errors_pb2.ErrorDetails.FromString(data))
    except DecodeError:
        return AetheriumError("The worker answered with an error that cannot be read.")


def _kind(error: AetheriumError) -> type[AetheriumError]:
    """The class in the table; a finer one of an adapter is what it refines."""
    return next(kind for kind in type(error).__mro__ if kind in STATUS and issubclass(kind, AetheriumError))


def _value_to_pb(value: Any) -> errors_pb2.Value:
    match value:
        case None:
            return errors_pb2.Value(null=errors_pb2.Null())
        case bool():
            return errors_pb2.Value(truth=value)
        case int() if -(1 << 63) <= value < 1 << 63:
            return errors_pb2.Value(integer=value)
        case int() | float():
            return errors_pb2.Value(number=float(value))
        case list() | tuple():
            return errors_pb2.Value(list=errors_pb2.ValueList(values=[_value_to_pb(each) for each in value]))
        case Mapping():
            inner = {readable(str(key)): _value_to_pb(each) for key, each in value.items()}
            return errors_pb2.Value(map=errors_pb2.ValueMap(values=inner))
    return errors_pb2.Value(text=readable(str(value)))


def _value_from_pb(message: errors_pb2.Value) -> Any:
    match message.WhichOneof("kind"):
        case "truth":
            return message.truth
        case "integer":
            return message.integer
        case "number":
            return message.number
        case "text":
            return message.text
        case "list":
            return [_value_from_pb(each) for each in message.list.values]
        case "map":
            return {key: _value_from_pb(each) for key, each in message.map.values.items()}
    return None
