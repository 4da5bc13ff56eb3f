"""The provider in a Vault, against a server that follows its documentation."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import httpx2
import pytest

from aetherium.domain.errors import Conflict, InvalidInput, NotFound, Unavailable, Unsupported
from aetherium.domain.secrets import SecretRef, SecretScope
from aetherium.interfaces.clock import SystemClock
from aetherium.interfaces.secrets import SecretProvider
from aetherium.rpc.authority import Kind
from aetherium.services.secrets.vault import VaultSecrets, open_vault
from aetherium.services.secrets.vault_http import VaultAccess, VaultHTTP
from tests.contract.secrets.contract import HERE, PROJECT, TOKEN, ProviderContract, value
from tests.contract.secrets.vault_server import MOUNT, ROLE, ROOT, SECRET_ID, Vault, serving
from tests.fixtures.certificates import Authority, authority

__all__ = ["authority"]

PREFIX = "aetherium/test"
WRONG = "hvs.wrong"
PLACE = f"{PREFIX}/{PROJECT}/project/TOKEN"


@pytest.fixture
def vault() -> Iterator[Vault]:
    with serving(Vault()) as vault:
        yield vault


def by_role(vault: Vault) -> VaultAccess:
    """Comes by AppRole."""
    return VaultAccess(vault.url, role_id=ROLE, secret_id=SECRET_ID)


class Seconds:
    """Pass when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def seconds() -> Seconds:
    return Seconds()


@pytest.fixture
async def provider(vault: Vault, seconds: Seconds) -> AsyncIterator[VaultSecrets]:
    access = by_role(vault)
    async with httpx2.AsyncClient(base_url=access.url) as http:
        yield VaultSecrets(VaultHTTP(access, http, seconds), MOUNT, PREFIX, SystemClock())


class TestVaultSecrets(ProviderContract):
    """With a token."""

    @pytest.fixture
    async def provider(self, vault: Vault) -> AsyncIterator[SecretProvider]:
        access = VaultAccess(vault.url, token=ROOT)
        async with open_vault(access, MOUNT, PREFIX, SystemClock()) as provider:
            yield provider


async def test_where_secrets_lie(vault: Vault, provider: VaultSecrets) -> None:
    await provider.set(TOKEN, "a", by="")
    await provider.set(SecretRef(PROJECT, "TOKEN", SecretScope.IMAGE, "python:3.12"), "b", by="")
    await provider.set(SecretRef(PROJECT, "TOKEN", SecretScope.JOB, "../x"), "c", by="")
    assert sorted(vault.entries) == [
        f"{PREFIX}/{PROJECT}/image/python=3A3.12/TOKEN",
        f"{PREFIX}/{PROJECT}/job/=2E.=2Fx/TOKEN",
        PLACE,
    ]


async def test_what_people_put_there_is_as_good(vault: Vault, provider: VaultSecrets) -> None:
    vault.put(PLACE, {"value": "theirs", "note": "rotated in May"})
    vault.put(f"{PREFIX}/{PROJECT}/project/not-one", {"value": "x"})
    vault.put(f"{PREFIX}/{PROJECT}/project/folder/X", {"value": "x"})
    assert await value(provider) == "theirs"
    assert [secret.name for secret in await provider.list(PROJECT)] == ["TOKEN"]


async def test_what_is_no_value(vault: Vault, provider: VaultSecrets) -> None:
    vault.put(PLACE, {"password": "hidden"})
    with pytest.raises(Unavailable, match="no text in the field 'value'") as refused:
        await value(provider)
    assert "hidden" not in str(refused.value)


async def test_a_deleted_version_is_not_there(vault: Vault, provider: VaultSecrets) -> None:
    vault.put(PLACE, {"value": "a"})
    newest = vault.entries[PLACE].versions[-1]
    newest["deletion_time"] = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    with pytest.raises(NotFound):
        await value(provider)
    with pytest.raises(NotFound):
        await provider.get(TOKEN)
    assert (await provider.set(TOKEN, "b", by="")).version == 2


async def test_a_version_with_an_end_to_come_is_there(vault: Vault, provider: VaultSecrets) -> None:
    vault.put(PLACE, {"value": "a"})
    end = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    vault.entries[PLACE].versions[-1]["deletion_time"] = end
    assert (await provider.get(TOKEN)).version == 1


async def test_who_writes_in_between_is_not_overwritten_unseen(vault: Vault, provider: VaultSecrets) -> None:
    vault.intruder = "theirs"
    assert (await provider.set(TOKEN, "ours", by="")).version == 2
    assert [each["value"] for each in vault.entries[PLACE].values] == ["theirs", "ours"]


async def test_a_mount_that_refuses_every_write(
    provider: VaultSecrets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Vault, "_write", lambda *_: (400, {"errors": ["s3cr3t is no good"]}))
    with pytest.raises(Conflict) as refused:
        await provider.set(TOKEN, "s3cr3t", by="")
    assert "s3cr3t" not in str(refused.value)


async def test_a_login_is_made_once_and_renewed(
    vault: Vault, provider: VaultSecrets, seconds: Seconds
) -> None:
    vault.lease_s = 300
    vault.put(PLACE, {"value": "a"})

    async def auth_after(at: float) -> list[str]:
        seconds.now = at
        vault.requests.clear()
        assert await value(provider, replace(HERE, images=frozenset(), job="")) == "a"
        return [path for _, path in vault.requests if path.startswith("auth/")]

    assert await auth_after(0) == ["auth/approle/login"]
    assert await auth_after(199) == []
    assert await auth_after(201) == ["auth/token/renew-self"]
    assert await auth_after(400) == []
    assert await auth_after(5000) == ["auth/approle/login"]  # nobody renewed it in time


async def test_a_token_that_cannot_be_renewed(vault: Vault, provider: VaultSecrets, seconds: Seconds) -> None:
    vault.renewable = False
    await provider.list(PROJECT)
    vault.requests.clear()
    seconds.now = 3599
    await provider.list(PROJECT)
    assert [path for _, path in vault.requests if path.startswith("auth/")] == ["auth/approle/login"]


async def test_a_revoked_token_is_replaced(vault: Vault, provider: VaultSecrets, seconds: Seconds) -> None:
    await provider.set(TOKEN, "a", by="")
    for at in (0.0, 3000.0):  # told by a request, and by the renewal
        seconds.now += at
        vault.tokens.clear()
        assert await value(provider) == "a"


async def test_a_forbidden_path(vault: Vault, provider: VaultSecrets) -> None:
    vault.denied = f"{MOUNT}/data/{PREFIX}"
    with pytest.raises(Unavailable, match=r"does not let us at .*TOKEN"):
        await value(provider)


async def test_a_sealed_vault(vault: Vault, provider: VaultSecrets) -> None:
    vault.sealed = True
    with pytest.raises(Unavailable, match="sealed"):
        await value(provider)
    vault.sealed = False
    await provider.set(TOKEN, "a", by="")
    assert await value(provider) == "a"


async def test_wrong_credentials(vault: Vault) -> None:
    for access, why in (
        (VaultAccess(vault.url, token=WRONG), "does not let us"),
        (VaultAccess(vault.url, role_id=ROLE, secret_id=WRONG), "knows no such AppRole"),
    ):
        async with open_vault(access, MOUNT, PREFIX, SystemClock()) as provider:
            with pytest.raises(Unavailable, match=why) as refused:
                await provider.list(PROJECT)
            assert WRONG not in str(refused.value)


async def test_a_wrong_mount_holds_nothing_and_takes_nothing(vault: Vault) -> None:
    async with open_vault(by_role(vault), "other", PREFIX, SystemClock()) as provider:
        with pytest.raises(NotFound):
            await provider.get(TOKEN)
        with pytest.raises(Unavailable, match="has no place 'other/data/"):
            await provider.set(TOKEN, "a", by="")


async def test_nobody_there() -> None:
    with serving(Vault()) as gone:
        access = by_role(gone)
    async with open_vault(access, MOUNT, PREFIX, SystemClock()) as provider:
        with pytest.raises(Unavailable, match="does not answer: ConnectError"):
            await provider.list(PROJECT)


async def test_over_tls(authority: Authority) -> None:
    authority.identity("vault", Kind.GATEWAY)
    place = authority.directory
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(place / "vault.crt", place / "vault.key")
    with serving(Vault(), tls) as vault:
        trusting = replace(by_role(vault), ca=place / "ca.crt")
        async with open_vault(trusting, MOUNT, PREFIX, SystemClock()) as provider:
            await provider.set(TOKEN, "a", by="")
            assert await value(provider) == "a"
        async with open_vault(by_role(vault), MOUNT, PREFIX, SystemClock()) as provider:
            with pytest.raises(Unavailable, match="does not answer"):
                await provider.get(TOKEN)
    with pytest.raises(InvalidInput, match="certificates in"):
        async with open_vault(replace(trusting, ca=place / "vault.key"), MOUNT, PREFIX, SystemClock()):
            pass


@pytest.mark.parametrize("url", ["http://vault.example:8200", "vault.example", "", "ftp://127.0.0.1"])
def test_a_way_without_tls_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput, match="vault_url"):
        VaultAccess(url, token=ROOT)


def test_nobody_to_come_as() -> None:
    with pytest.raises(InvalidInput, match="as whom"):
        VaultAccess("https://vault.example", role_id=ROLE)


async def test_its_keys_are_its_own(provider: VaultSecrets) -> None:
    with pytest.raises(Unsupported, match="keeps the keys"):
        await provider.rotate_key()


def test_credentials_are_not_shown() -> None:
    assert ROOT not in repr(VaultAccess("https://vault.example", token=ROOT, secret_id=ROOT))
