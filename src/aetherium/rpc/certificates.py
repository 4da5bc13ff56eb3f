"""A directory of certificates: ``ca.crt`` and ``ca.key``, and NAME.crt and NAME.key for each process.

All are PEM. A key has the mode 0600; nothing that is there is replaced unless that is asked for, and what is
replaced is replaced as a whole.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from aetherium.domain.errors import AlreadyExists, Conflict, InvalidInput, NotFound, Unavailable
from aetherium.rpc import authority
from aetherium.rpc.authority import Issued, Kind

AUTHORITY = "ca"


@dataclass(frozen=True, slots=True)
class Facts:
    """What a certificate says.

    Args:
        kind: empty for the authority.
        fingerprint: SHA-256, in hexadecimal digits.
    """

    name: str
    kind: str
    hosts: tuple[str, ...]
    not_before: datetime
    not_after: datetime
    serial: str
    fingerprint: str
    path: str


class Certificates:
    """See the module's docstring. `now` is given by the caller, in UTC."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def init(self, now: datetime, *, days: int = authority.AUTHORITY_DAYS, force: bool = False) -> Facts:
        """Make the authority. Raises AlreadyExists."""
        made = authority.authority(now, days=days)
        self._keep(AUTHORITY, made, force=force)
        return self._facts(AUTHORITY, made.certificate)

    def issue(
        self,
        name: str,
        kind: Kind,
        hosts: Sequence[str],
        now: datetime,
        *,
        days: int = authority.DAYS,
        force: bool = False,
    ) -> Facts:
        """Make a certificate with a new key. Raises InvalidInput, AlreadyExists, NotFound (the authority)."""
        if name == AUTHORITY:
            raise InvalidInput(
                f"{name!r} is the authority itself.", hint="Choose another name.", field="name"
            )
        made = authority.issue(self._authority(), name, kind, hosts, now, days=days)
        self._keep(name, made, force=force)
        return self._facts(name, made.certificate)

    def renew(self, name: str, now: datetime, *, days: int = authority.DAYS) -> Facts:
        """Put a certificate of the same key in place of one; who uses it reads it by itself.

        Raises NotFound, and Conflict for one of another authority.
        """
        by, old = self._authority(), read_certificate(self._certificate(name))
        if not authority.signed_by(old, by.certificate):
            raise Conflict(
                f"The certificate {name} is not of the authority in {self._directory}.",
                hint="Issue it anew: aetherium certs issue … --force",
            )
        new = authority.renew(by, old, now, days=days)
        _replace(self._path(name, "crt"), new.public_bytes(serialization.Encoding.PEM), 0o644)
        return self._facts(name, new)

    def all(self) -> Sequence[Facts]:
        """The authority first, then the others by name."""
        names = sorted(path.stem for path in self._directory.glob("*.crt"))
        names.sort(key=lambda name: name != AUTHORITY)
        return [self._facts(name, read_certificate(self._path(name, "crt"))) for name in names]

    def _authority(self) -> Issued:
        if not self._path(AUTHORITY, "key").exists():
            raise NotFound("authority", str(self._directory), hint="Make one: aetherium certs init")
        return Issued(read_certificate(self._path(AUTHORITY, "crt")), read_key(self._path(AUTHORITY, "key")))

    def _certificate(self, name: str) -> Path:
        path = self._path(name, "crt")
        if name == AUTHORITY or not path.exists():
            raise NotFound("certificate", name, hint="See: aetherium certs show")
        return path

    def _path(self, name: str, suffix: str) -> Path:
        return self._directory / f"{name}.{suffix}"

    def _keep(self, name: str, made: Issued, *, force: bool) -> None:
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise Unavailable(f"{self._directory} cannot be used: {error.strerror}.") from error
        put = _replace if force else _create
        # The key first: nobody sees a certificate whose key is not there.
        put(self._path(name, "key"), _pem(made.key), 0o600)
        put(self._path(name, "crt"), made.certificate.public_bytes(serialization.Encoding.PEM), 0o644)

    def _facts(self, name: str, certificate: x509.Certificate) -> Facts:
        return Facts(
            name=name,
            kind=authority.kind_of(certificate) or "",
            hosts=authority.hosts_of(certificate),
            not_before=certificate.not_valid_before_utc,
            not_after=certificate.not_valid_after_utc,
            serial=f"{certificate.serial_number:x}",
            fingerprint=certificate.fingerprint(hashes.SHA256()).hex(),
            path=str(self._path(name, "crt")),
        )


def read_certificate(path: Path) -> x509.Certificate:
    """The first certificate of a file. Raises InvalidInput."""
    return parse_certificate(read(path), path)


def read_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """The key of an authority. Raises InvalidInput."""
    try:
        key = serialization.load_pem_private_key(read(path), password=None)
    except (ValueError, TypeError) as error:
        raise InvalidInput(f"{path} holds no key that can be read: {error}.", field=str(path)) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise InvalidInput(f"The key in {path} is of another kind than ours (EC).", field=str(path))
    return key


def parse_certificate(data: bytes, path: Path) -> x509.Certificate:
    """The first certificate in `data`, which is that of the file `path`. Raises InvalidInput."""
    try:
        return x509.load_pem_x509_certificate(data)
    except ValueError as error:
        raise InvalidInput(f"{path} holds no certificate in PEM form: {error}.", field=str(path)) from error


def read(path: Path) -> bytes:
    """A file. Raises InvalidInput."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}.", field=str(path)) from error


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _create(path: Path, data: bytes, mode: int) -> None:
    fresh = _fresh(path, data, mode)
    try:
        path.hardlink_to(fresh)
    except FileExistsError:
        raise AlreadyExists(
            f"{path} is there already.",
            hint="Choose another name, or replace it with --force.",
            path=str(path),
        ) from None
    finally:
        fresh.unlink()


def _replace(path: Path, data: bytes, mode: int) -> None:
    _fresh(path, data, mode).replace(path)


def _fresh(path: Path, data: bytes, mode: int) -> Path:
    """A file beside `path` that is whole, and on the disk."""
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise Unavailable(f"{path} cannot be written: {error.strerror}.", path=str(path)) from error
    return fresh
