"""The authority of a cluster and the files of its certificates."""

from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import PolicyBuilder, Store

from aetherium.domain.errors import AetheriumError, AlreadyExists, Conflict, InvalidInput, NotFound
from aetherium.rpc import authority
from aetherium.rpc.authority import Kind
from aetherium.rpc.certificates import Certificates, read_certificate

NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def made(tmp_path: Path) -> Certificates:
    certificates = Certificates(tmp_path)
    certificates.init(NOW)
    return certificates


def test_what_is_issued_is_valid_for_its_hosts_only(made: Certificates, tmp_path: Path) -> None:
    facts = made.issue("w1", Kind.WORKER, ["w1.example", "10.0.0.7", "::1"], NOW, days=30)
    assert (facts.kind, facts.hosts) == ("worker", ("w1.example", "10.0.0.7", "::1"))
    assert facts.not_after == NOW + timedelta(days=30)
    certificate = read_certificate(tmp_path / "w1.crt")
    policy = PolicyBuilder().store(Store([read_certificate(tmp_path / "ca.crt")])).time(NOW)
    chain = policy.build_server_verifier(x509.DNSName("w1.example")).verify(certificate, [])
    assert chain[0] == certificate
    with pytest.raises(x509.verification.VerificationError):
        policy.build_server_verifier(x509.DNSName("other.example")).verify(certificate, [])


def test_the_authority_signs_no_further_one(made: Certificates, tmp_path: Path) -> None:
    extensions = read_certificate(tmp_path / "ca.crt").extensions
    basic = extensions.get_extension_for_class(x509.BasicConstraints)
    assert (basic.critical, basic.value.ca, basic.value.path_length) == (True, True, 0)
    usage = extensions.get_extension_for_class(x509.KeyUsage).value
    assert (usage.key_cert_sign, usage.digital_signature) == (True, False)


@pytest.mark.parametrize(
    ("kind", "serves"), [(Kind.WORKER, True), (Kind.GATEWAY, True), (Kind.CLIENT, False)]
)
def test_the_kind_says_what_a_certificate_is_for(
    made: Certificates, tmp_path: Path, kind: Kind, serves: bool
) -> None:
    made.issue("one", kind, ["h.example"], NOW)
    certificate = read_certificate(tmp_path / "one.crt")
    assert authority.kind_of(certificate) is kind
    uses = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert (ExtendedKeyUsageOID.SERVER_AUTH in uses) is serves
    assert ExtendedKeyUsageOID.CLIENT_AUTH in uses
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    assert (usage.key_cert_sign, usage.digital_signature) == (False, True)


def test_keys_are_private_and_nothing_is_replaced_unasked(made: Certificates, tmp_path: Path) -> None:
    made.issue("g1", Kind.GATEWAY, [], NOW)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert set(before) == {"ca.crt", "ca.key", "g1.crt", "g1.key"}
    for key in tmp_path.glob("*.key"):
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
    with pytest.raises(AlreadyExists, match=r"ca\.key"):
        made.init(NOW)
    with pytest.raises(AlreadyExists, match=r"g1\.key"):
        made.issue("g1", Kind.GATEWAY, [], NOW)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    made.issue("g1", Kind.GATEWAY, [], NOW, force=True)
    assert (tmp_path / "g1.key").read_bytes() != before["g1.key"]
    assert stat.S_IMODE((tmp_path / "g1.key").stat().st_mode) == 0o600


def test_a_renewed_certificate_has_the_same_key_and_hosts(made: Certificates, tmp_path: Path) -> None:
    first = made.issue("w1", Kind.WORKER, ["w1.example"], NOW, days=1)
    key, later = (tmp_path / "w1.key").read_bytes(), NOW + timedelta(days=300)
    second = made.renew("w1", later, days=90)
    assert (second.kind, second.hosts) == (first.kind, first.hosts)
    assert second.not_after == later + timedelta(days=90)
    assert second.serial != first.serial
    assert (tmp_path / "w1.key").read_bytes() == key
    assert made.issue("c1", Kind.CLIENT, [], NOW).hosts == made.renew("c1", later).hosts == ()


def test_nothing_outlives_the_authority(made: Certificates) -> None:
    end = made.all()[0].not_after
    assert made.issue("w1", Kind.WORKER, ["h"], NOW, days=36_500).not_after == end
    with pytest.raises(InvalidInput, match="expired"):
        made.renew("w1", end + timedelta(days=1))


def test_another_authority_renews_nothing(made: Certificates, tmp_path: Path) -> None:
    made.issue("w1", Kind.WORKER, ["h"], NOW)
    made.init(NOW, force=True)
    with pytest.raises(Conflict, match="not of the authority"):
        made.renew("w1", NOW)


@pytest.mark.parametrize(
    ("name", "hosts", "days"),
    [("../x", ["h"], 1), ("", ["h"], 1), ("ca", ["h"], 1), ("w", [], 1), ("w", ["a b"], 1), ("w", ["h:1"], 1),
     ("w", ["-h"], 1), ("w", ["h"], 0)],
)  # fmt: skip
def test_what_cannot_be_issued_is_refused(
    made: Certificates, tmp_path: Path, name: str, hosts: list[str], days: int
) -> None:
    with pytest.raises(InvalidInput):
        made.issue(name, Kind.WORKER, hosts, NOW, days=days)
    assert {path.name for path in tmp_path.iterdir()} == {"ca.crt", "ca.key"}


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path / "none")
    assert certificates.all() == []
    with pytest.raises(NotFound) as caught:
        certificates.issue("w1", Kind.WORKER, ["h"], NOW)
    assert caught.value.hint == "Make one: aetherium certs init"
    certificates.init(NOW)
    with pytest.raises(NotFound, match="w1"):
        certificates.renew("w1", NOW)


@pytest.mark.parametrize("suffix", ["crt", "key"])
def test_a_file_that_is_none_is_named(made: Certificates, tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"ca.{suffix}").write_text("nothing")
    with pytest.raises(AetheriumError, match=f"ca\\.{suffix}"):
        made.issue("w1", Kind.WORKER, ["h"], NOW)
