"""Stored secrets: what they are called, who may be given them, what is known of them.

The scope says in which executions of its project a secret may be used: in all (``project``), only in VMs of
an image (``image``; the target is a tag or digest), or only in jobs of a name (``job``; the target is that
name). Of several secrets with one name the narrowest that fits is given: job, then image, then project.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from aetherium.domain.errors import InvalidInput

# They become environment variables, by which programs look for them in capitals.
_NAME = re.compile(r"[A-Z_][A-Z0-9_]{0,62}")
# A key or certificate fits many times; the kernel takes 128 KiB for one variable.
LARGEST = 64 * 1024
_LONGEST_TARGET = 200
_DIGEST = "sha256:"


class SecretScope(StrEnum):
    """Where a secret may be used; the narrowest first."""

    JOB = "job"
    IMAGE = "image"
    PROJECT = "project"


@dataclass(frozen=True, slots=True)
class SecretRef:
    """What a secret is found by.

    Args:
        target: the job's name, or the image's tag or digest; empty for the whole project.

    Raises InvalidInput.
    """

    project_id: str
    name: str
    scope: SecretScope = SecretScope.PROJECT
    target: str = ""

    def __post_init__(self) -> None:
        check_name(self.name)
        if (self.scope is SecretScope.PROJECT) == bool(self.target):
            raise InvalidInput(
                f"The scope {self.scope} goes with {'no' if self.target else 'a'} target.",
                hint="Name an image or a job as target of the scopes image and job, and of no other.",
                field="target",
            )
        if len(self.target) > _LONGEST_TARGET or not self.target.isprintable():
            raise InvalidInput(
                f"The target {self.target!r} cannot be one.",
                hint=f"Give the tag or digest of an image, or a job's name, of at most {_LONGEST_TARGET}"
                " characters.",
                field="target",
            )

    def __str__(self) -> str:
        return self.name if not self.target else f"{self.name} of the {self.scope} {self.target}"


@dataclass(frozen=True, slots=True)
class Secret:
    """What is known of a secret; its value is no part of this.

    Args:
        version: from 1; each new value has the next one.
        updated_by: the subject of a Caller.
        used_at: when it was last given to an execution, as far as its provider keeps that.
    """

    id: str
    project_id: str
    scope: SecretScope
    target: str
    name: str
    version: int
    created_at: datetime
    updated_at: datetime
    updated_by: str
    used_at: datetime | None = None

    @property
    def ref(self) -> SecretRef:
        """What it is found by."""
        return SecretRef(self.project_id, self.name, self.scope, self.target)


@dataclass(frozen=True, slots=True)
class OpenedSecret:
    """A secret with its value, which never leaves memory."""

    secret: Secret
    value: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Place:
    """Where secrets are asked for.

    Args:
        images: tags and digest of the VM's image.
        job: the job's name; empty outside of jobs.
    """

    images: frozenset[str] = frozenset()
    job: str = ""

    def targets(self) -> list[tuple[SecretScope, str]]:
        """Scopes and targets of the secrets that may be used here, the narrowest first."""
        images = sorted(self.images, key=lambda image: (not image.startswith(_DIGEST), image))
        of_job = [(SecretScope.JOB, self.job)] if self.job else []
        return [
            *of_job,
            *((SecretScope.IMAGE, image) for image in images),
            (SecretScope.PROJECT, ""),
        ]


@dataclass(frozen=True, slots=True)
class KeyRotation:
    """What a rotation of keys has done.

    Args:
        key_id: the key that all data keys are wrapped under now.
        wrapped: how many were wrapped anew.
        retired: keys that nothing uses any more, and that are gone.
        master: the id of the master key that wraps the keys now.
        remastered: how many keys were wrapped under another master key before.
    """

    key_id: str
    wrapped: int
    retired: tuple[str, ...]
    master: str
    remastered: int = 0


def check_name(name: str) -> str:
    """`name`, or InvalidInput if no secret can be called so."""
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            f"A secret cannot have the name {name!r}.",
            hint="Use capitals, digits and underscores, at most 63, not beginning with a digit.",
            field="name",
        )
    return name


def check_value(value: str) -> str:
    """`value`, or InvalidInput, which does not say what it was."""
    size = len(value.encode("utf-8", "surrogatepass"))
    if not value or size > LARGEST:
        raise InvalidInput(
            f"The secret's value has {size} bytes.", hint=f"Give 1 to {LARGEST}.", field="value"
        )
    if "\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
        raise InvalidInput(
            "The secret's value is no text that an environment variable can hold.",
            hint="Give UTF-8 without NUL; encode bytes, for example with base64.",
            field="value",
        )
    return value
