"""Job files: YAML that says what a job is. See docs/jobs.md, and docs/job.schema.json for editors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aetherium.domain.errors import InvalidInput, LimitExceeded
from aetherium.domain.jobs import JobSpec

__all__ = ["MAX_BYTES", "load", "loads", "schema"]

# A job file is written by hand; whatever is larger is another file.
MAX_BYTES = 1 << 20


def load(path: Path) -> JobSpec:
    """Read a job file; relative paths in it are relative to its directory.

    Raises InvalidInput (it cannot be read), JobFileInvalid with ``line``, ``column`` and ``key`` of the first
    error and all of them in ``errors``, and LimitExceeded.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InvalidInput(
            f"The job file {str(path)!r} cannot be read: {error.strerror}.", field=str(path)
        ) from error
    return loads(data, base=path.absolute().parent, name=path.name)


def loads(text: str | bytes, *, base: Path, name: str = "job.yaml") -> JobSpec:
    """Read the text of a job file. See `load`.

    Args:
        base: what relative paths are relative to.
        name: of the file, for messages.
    """
    from aetherium.jobfile.converting import convert
    from aetherium.jobfile.reading import parse

    data = text.encode(errors="surrogatepass") if isinstance(text, str) else text
    if len(data) > MAX_BYTES:
        raise LimitExceeded(
            f"{name} has more than {MAX_BYTES} bytes.", hint="Is it a job file?", limit=MAX_BYTES
        )
    return convert(parse(data, name), base)


def schema() -> dict[str, Any]:
    """The JSON schema of job files, for editors."""
    from aetherium.jobfile.model import JobFile, json_schema

    return json_schema(JobFile)
