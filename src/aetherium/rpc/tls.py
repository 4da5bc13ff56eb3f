"""TLS of gRPC: the certificate of this process, which is read again when its files change, and who calls."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import grpc
import structlog
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from grpc.aio import ServicerContext

from aetherium.domain.errors import InvalidInput
from aetherium.rpc.authority import Kind, kind_of
from aetherium.rpc.certificates import parse_certificate, read
from aetherium.settings import Settings

log = structlog.get_logger(__name__)

Context = ServicerContext[Any, Any]
_Stamp = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class _Pems:
    certificate: bytes
    key: bytes
    authority: bytes | None = None


class Identity:
    """A certificate with its key, and the authority that others are measured by.

    Args:
        authority: None: others are not asked for a certificate.

    Raises InvalidInput for files that cannot be used.
    """

    def __init__(self, certificate: Path, key: Path, authority: Path | None) -> None:
        self._files = (certificate, key) if authority is None else (certificate, key, authority)
        self._stamp = self._look()
        self._pems = self._read()
        self.version = 0

    def refresh(self) -> None:
        """Read the files again if they have changed; `version` then grows.

        Files that do not go together, as in the middle of a replacement, change nothing.
        """
        try:
            if (stamp := self._look()) == self._stamp:
                return
            self._pems = self._read()
        except InvalidInput as error:
            log.warning("certificate not usable, the one before stays", reason=str(error))
            return
        self._stamp = stamp
        self.version += 1

    def for_server(self, *, mutual: bool) -> grpc.ServerCredentials:
        """For a server; with `mutual` it wants a certificate of the authority from whoever calls."""

        given = self.version

        def fetch() -> grpc.ServerCertificateConfiguration | None:
            nonlocal given
            self.refresh()
            if self.version == given:
                return None
            given = self.version
            return self._configuration(mutual=mutual)

        return grpc.dynamic_ssl_server_credentials(
            self._configuration(mutual=mutual),
            fetch,  # type: ignore[arg-type]  # None, whatever the stubs say: nothing has changed
            require_client_authentication=mutual,
        )

    def for_client(self) -> grpc.ChannelCredentials:
        """For a client of servers that the authority has certified."""
        return grpc.ssl_channel_credentials(
            self._pems.authority, private_key=self._pems.key, certificate_chain=self._pems.certificate
        )

    def _configuration(self, *, mutual: bool) -> grpc.ServerCertificateConfiguration:
        return grpc.ssl_server_certificate_configuration(
            [(self._pems.key, self._pems.certificate)], self._pems.authority if mutual else None
        )

    def _look(self) -> _Stamp:
        try:
            found = [path.stat() for path in self._files]
        except OSError as error:
            raise InvalidInput(
                f"{error.filename} cannot be read: {error.strerror}.",
                hint="Correct tls_cert, tls_key and tls_ca. Certificates: aetherium certs --help",
                field="tls_cert",
            ) from error
        return tuple((facts.st_ino, facts.st_mtime_ns, facts.st_size) for facts in found)

    def _read(self) -> _Pems:
        certificate, key, *authorities = self._files
        found = _Pems(read(certificate), read(key), *(read(path) for path in authorities))
        _check(parse_certificate(found.certificate, certificate), found.key, key)
        for path in authorities:
            parse_certificate(found.authority or b"", path)
        return found


def _check(certificate: x509.Certificate, key: bytes, path: Path) -> None:
    """Raises InvalidInput for a key that is none, or another one's."""
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    try:
        public = serialization.load_pem_private_key(key, password=None).public_key()
    except (ValueError, TypeError) as error:
        raise InvalidInput(f"{path} holds no key that can be read: {error}.", field="tls_key") from error
    if public.public_bytes(*form) != certificate.public_key().public_bytes(*form):
        raise InvalidInput(f"The key in {path} is not that of the certificate.", field="tls_key")


def mutual_identity(settings: Settings) -> Identity | None:
    """What gateways and workers show one another; None without `tls_ca`. Raises InvalidInput."""
    return None if settings.tls_ca is None else _identity(settings, settings.tls_ca)


def server_identity(settings: Settings) -> Identity | None:
    """What is shown to the users of the API; None without `tls_cert`. Raises InvalidInput."""
    return None if settings.tls_cert is None else _identity(settings, None)


def _identity(settings: Settings, authority: Path | None) -> Identity:
    if settings.tls_cert is None or settings.tls_key is None:
        raise InvalidInput(
            "The settings for TLS are not complete.",
            hint="Set tls_cert and tls_key; between hosts of a cluster, tls_ca too.",
            field="tls_key" if settings.tls_cert else "tls_cert",
        )
    return Identity(settings.tls_cert, settings.tls_key, authority)


def peer_kind(context: Context) -> Kind | None:
    """Whose certificate the caller has shown; None without one, or with one of no kind."""
    shown = next(iter(context.auth_context().get("x509_pem_cert", ())), None)
    return None if shown is None else _kind(shown)


@lru_cache(maxsize=256)
def _kind(pem: bytes) -> Kind | None:
    return kind_of(x509.load_pem_x509_certificate(pem))
