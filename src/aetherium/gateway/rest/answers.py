"""What answers carry beside domain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from pydantic import BaseModel

from aetherium.domain.executions import Execution
from aetherium.domain.guest import FileStat
from aetherium.interfaces.pool import PoolLevel

T = TypeVar("T")


class Page(BaseModel, Generic[T]):
    """One page of a list; `next_cursor`: asks for the next one; null: this is the last."""

    items: list[T]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Bytes:
    """Bytes: `text` where they are UTF-8, `base64` otherwise."""

    text: str = ""
    base64: str = ""


@dataclass(frozen=True, slots=True)
class Ran:
    """A command that was run to its end, and all that it wrote."""

    execution: Execution
    stdout: Bytes
    stderr: Bytes


@dataclass(frozen=True, slots=True)
class Checksum:
    """`sha256`: in hex, of the `size_bytes` bytes of a file."""

    path: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Written(FileStat):
    """A file that was written; `sha256`: in hex, of what was sent."""

    sha256: str


@dataclass(frozen=True, slots=True)
class Changed:
    """How many tasks were changed."""

    changed: int


@dataclass(frozen=True, slots=True)
class AuditKey:
    """`key`: a public key (Ed25519) in hex."""

    key: str


@dataclass(frozen=True, slots=True)
class Freed:
    """The bytes that became free."""

    freed_bytes: int


@dataclass(frozen=True, slots=True)
class Alive:
    """The process that answers."""

    status: str
    version: str
    pid: int


@dataclass(frozen=True, slots=True)
class Ready:
    """A gateway that takes requests, and how full its pools are."""

    status: str
    version: str
    pools: PoolLevel
