"""Bringing the database file to the present schema.

Every command opens the database, so this has to cost nothing when there is nothing to do: the version is read
with the standard library, and Alembic is loaded only for a migration.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from aetherium.domain.errors import Conflict, Unavailable

if TYPE_CHECKING:
    from alembic.script import ScriptDirectory

# The newest file in migrations/versions; a test compares.
HEAD = "0002"


def migrate(path: Path) -> None:
    """Make the file, or bring it up to date. Blocks: call it in a thread.

    Raises Conflict for a file from a newer version of Aetherium, Unavailable if it cannot be read or written.
    """
    try:
        if version(path) == HEAD:
            return
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(path.with_suffix(".lock")):
            found = version(path)
            if found != HEAD:
                _upgrade(path, found)
    except (OSError, sqlite3.Error) as error:
        raise Unavailable(
            f"The database {path} cannot be opened: {error}.",
            hint="See that the file and its directory can be written, and that the disk has room.",
        ) from error


def version(path: Path) -> str | None:
    """The file's schema version; None for no file or an empty one."""
    if not path.exists():
        return None
    with closing(sqlite3.connect(path, timeout=30.0)) as connection:
        try:
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                return None
            raise
    return None if row is None else str(row[0])


def _upgrade(path: Path, found: str | None) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory as Scripts
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["path"] = path
    if found is not None and found not in _known(Scripts.from_config(config)):
        raise Conflict(
            f"The database {path} has the schema {found}, made by a newer version of Aetherium.",
            hint="Use that version, or another data directory.",
            found=found,
            known=HEAD,
        )
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise Unavailable(f"The database {path} cannot be migrated: {error}.") from error


def _known(scripts: ScriptDirectory) -> set[str]:
    return {script.revision for script in scripts.walk_revisions()}


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One process migrates; the others wait and then find it done."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
