"""From a URL to a store."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

from aetherium.domain.errors import InvalidInput
from aetherium.interfaces.objects import ObjectStore, check_folder
from aetherium.objects.local import LocalObjects
from aetherium.objects.s3 import S3Access, S3Objects

_FILE = re.compile(r"file://(?P<path>/.+)")
# The names that S3 gives to buckets.
_S3 = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(/(?P<prefix>[^?#]*))?")


def open_objects(url: str, access: S3Access | None = None) -> ObjectStore:
    """The store that `url` names: ``file:///path`` or ``s3://bucket/prefix``. Nothing is asked of it yet.

    Raises InvalidInput.
    """
    if match := _FILE.fullmatch(url):
        return LocalObjects(Path(unquote(match["path"])))
    if match := _S3.fullmatch(url):
        return S3Objects(match["bucket"], check_folder(unquote(match["prefix"] or "")), access or S3Access())
    # Not shown: somebody may have written keys into it.
    raise InvalidInput(
        "The URL of the object store is none that is known.",
        hint="Use file:///PATH or s3://BUCKET/PREFIX; endpoint and keys have settings of their own.",
        field="url",
    )
