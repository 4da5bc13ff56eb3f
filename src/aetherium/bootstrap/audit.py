"""The audit log, by the settings; and what was exported of one, without a platform."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from aetherium.bootstrap.secrets import master_key
from aetherium.domain.audit import AuditVerification
from aetherium.domain.errors import InvalidInput
from aetherium.interfaces.store import Store
from aetherium.services.audit.exported import newest_known, verify_lines
from aetherium.services.audit.log import open_audit_log
from aetherium.services.audit.service import AuditService
from aetherium.services.audit.signing import Signer
from aetherium.settings import Settings


@asynccontextmanager
async def open_audit(settings: Settings, store: Store) -> AsyncIterator[AuditService]:
    """The log of a store, signed by a key of the installation's master key."""
    before = settings.master_key_previous
    signer = Signer(master_key(settings), None if before is None else before.get_secret_value())
    async with open_audit_log(store.audit, signer) as log:
        yield AuditService(store, log, signer)


def verify_export(
    path: Path, keys: Sequence[str], known: Mapping[int, str] | None = None
) -> AuditVerification:
    """What is wrong with an export; see services/audit/exported.py. Blocks. Raises InvalidInput."""
    try:
        with path.open(encoding="utf-8") as lines:
            return verify_lines(lines, keys, known)
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, error) from error


def known_of(path: Path) -> Mapping[int, str]:
    """The last entry that an export, or an answer of a verification, has signed: its number and hash. Blocks.
    Raises InvalidInput."""
    try:
        with path.open(encoding="utf-8") as lines:
            return newest_known(lines)
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError | UnicodeDecodeError) -> InvalidInput:
    reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
    return InvalidInput(f"The file {str(path)!r} cannot be read: {reason}.", field="file")
