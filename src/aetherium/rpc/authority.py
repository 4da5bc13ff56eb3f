"""An authority of a cluster's own, and the certificates that it signs (X.509 as profiled in RFC 5280).

Whose certificate it is stands in its subject: the name as CN, the kind as OU. The kind also decides the
extended key usage: a worker and a gateway serve and call, a client only calls. The authority signs no
further ones (a path length of 0).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from aetherium.domain.errors import InvalidInput

AUTHORITY_DAYS = 3650
DAYS = 365
# Clocks of hosts differ a little: what was just issued counts already.
_SKEW = timedelta(minutes=5)
_NAME = re.compile(r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?$")
_HOST = re.compile(r"^(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9-]{1,63})*$")


class Kind(StrEnum):
    """Whose certificate it is."""

    WORKER = "worker"
    GATEWAY = "gateway"
    CLIENT = "client"


_USES = {
    Kind.WORKER: (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH),
    Kind.GATEWAY: (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH),
    Kind.CLIENT: (ExtendedKeyUsageOID.CLIENT_AUTH,),
}


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate, and the key that belongs to it."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def authority(now: datetime, *, days: int = AUTHORITY_DAYS) -> Issued:
    """A new authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Aetherium CA")])
    builder = (
        _builder(subject, subject, key.public_key(), now, now + _days(days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
    )
    return Issued(builder.sign(key, hashes.SHA256()), key)


def issue(
    by: Issued, name: str, kind: Kind, hosts: Sequence[str], now: datetime, *, days: int = DAYS
) -> Issued:
    """A certificate with a new key.

    Args:
        hosts: names and addresses at which others reach the process; a worker needs one.

    Raises InvalidInput.
    """
    if not _NAME.match(name):
        raise InvalidInput(
            f"{name!r} cannot be the name of a certificate.",
            hint="Use 1 to 64 letters, digits, dots, hyphens and underscores.",
            field="name",
        )
    if kind is Kind.WORKER and not hosts:
        raise InvalidInput(
            "A worker's certificate needs the name or address at which gateways reach it.",
            hint="Add --host.",
            field="hosts",
        )
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, kind.value),
            x509.NameAttribute(NameOID.COMMON_NAME, name),
        ]
    )
    return Issued(_sign(by, subject, key.public_key(), kind, _names(hosts), now, days), key)


def renew(by: Issued, old: x509.Certificate, now: datetime, *, days: int = DAYS) -> x509.Certificate:
    """The same certificate, of the same key, from now on. Raises InvalidInput."""
    kind = kind_of(old)
    if kind is None:
        raise InvalidInput("The certificate is none of a worker, gateway or client.", field="name")
    names = old.extensions.get_extension_for_class(x509.SubjectAlternativeName).value if hosts_of(old) else ()
    return _sign(by, old.subject, old.public_key(), kind, list(names), now, days)


def kind_of(certificate: x509.Certificate) -> Kind | None:
    """Whose it is; None if it was not issued here."""
    units = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)
    found = units[0].value if len(units) == 1 else ""
    return Kind(found) if found in set(Kind) else None


def hosts_of(certificate: x509.Certificate) -> tuple[str, ...]:
    """The names and addresses that it is for."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return ()
    return tuple(str(name.value) for name in found.value)


def signed_by(certificate: x509.Certificate, signer: x509.Certificate) -> bool:
    """Whether `signer` has signed it."""
    try:
        certificate.verify_directly_issued_by(signer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def matches(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> bool:
    """Whether it is the certificate of this key."""
    return _raw(certificate.public_key()) == _raw(key.public_key())


def _raw(key: CertificatePublicKeyTypes) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _sign(
    by: Issued,
    subject: x509.Name,
    key: CertificatePublicKeyTypes,
    kind: Kind,
    names: list[x509.GeneralName],
    now: datetime,
    days: int,
) -> x509.Certificate:
    until = min(now + _days(days), by.certificate.not_valid_after_utc)
    if until <= now:
        raise InvalidInput("The authority's certificate has expired.", hint="Make a new one.", field="dir")
    builder = (
        _builder(by.certificate.subject, subject, key, now, until)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(_USES[kind]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(by.key.public_key()), critical=False
        )
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(by.key, hashes.SHA256())


def _builder(
    issuer: x509.Name, subject: x509.Name, key: CertificatePublicKeyTypes, now: datetime, until: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .issuer_name(issuer)
        .subject_name(subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(until)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _days(days: int) -> timedelta:
    if not 1 <= days <= 36_500:
        raise InvalidInput(f"The days are {days}.", hint="Use 1 to 36500.", field="days")
    return timedelta(days=days)


def _names(hosts: Sequence[str]) -> list[x509.GeneralName]:
    return [_host(host) for host in hosts]


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        if _HOST.match(host):
            return x509.DNSName(host)
    raise InvalidInput(
        f"{host!r} is neither a host name nor an address.",
        hint="Write it as gateways reach it, without a port: worker1.example, 10.0.0.1.",
        field="hosts",
    )
