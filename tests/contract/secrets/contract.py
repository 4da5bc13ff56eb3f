"""What every provider of secrets has to do. Subclasses give a `provider` fixture."""

from __future__ import annotations

import asyncio

import pytest

from aetherium.domain.errors import InvalidInput, NotFound
from aetherium.domain.secrets import LARGEST, Place, Secret, SecretRef, SecretScope
from aetherium.interfaces.secrets import SecretProvider

PROJECT, OTHER = "prj_0000000000000000", "prj_0000000000000001"
DIGEST = "sha256:" + "1f" * 32
HERE = Place(frozenset({"base", "registry.example/base:1.2", DIGEST}), "nightly")
TOKEN = SecretRef(PROJECT, "TOKEN")


def ref(scope: SecretScope = SecretScope.PROJECT, target: str = "", name: str = "TOKEN") -> SecretRef:
    """A secret of the project."""
    return SecretRef(PROJECT, name, scope, target)


async def value(provider: SecretProvider, place: Place = HERE, name: str = "TOKEN") -> str:
    """What an execution in that place is given."""
    return (await provider.open(PROJECT, [name], place))[name].value


class ProviderContract:
    """All of it."""

    async def test_a_value_comes_back_and_is_replaced(self, provider: SecretProvider) -> None:
        first = await provider.set(TOKEN, "one", by="key:a")
        assert (first.version, first.ref, first.updated_by) == (1, TOKEN, "key:a")
        assert await value(provider) == "one"
        second = await provider.set(TOKEN, "two", by="key:b")
        assert (second.id, second.version, second.updated_by) == (first.id, 2, "key:b")
        assert second.created_at == first.created_at <= second.updated_at
        opened = (await provider.open(PROJECT, ["TOKEN"], HERE))["TOKEN"]
        assert (opened.value, opened.secret.id, opened.secret.version) == ("two", first.id, 2)
        assert await provider.get(TOKEN) == second
        assert "two" not in repr(opened)

    @pytest.mark.parametrize(
        "text", [" leading\nand lines\r\n", "ß€ 🔑", '{"json": "\\u0000"}', "x" * LARGEST]
    )
    async def test_values_come_back_to_the_letter(self, provider: SecretProvider, text: str) -> None:
        await provider.set(TOKEN, text, by="")
        assert await value(provider) == text

    @pytest.mark.parametrize("text", ["", "x" * (LARGEST + 1), "€" * (LARGEST // 2), "a\0b", "\ud800"])
    async def test_what_no_variable_can_hold_is_refused(self, provider: SecretProvider, text: str) -> None:
        with pytest.raises(InvalidInput) as refused:
            await provider.set(TOKEN, text, by="")
        assert not text or text not in str(refused.value)
        with pytest.raises(NotFound):
            await provider.get(TOKEN)

    async def test_the_narrowest_scope_wins(self, provider: SecretProvider) -> None:
        wide_to_narrow = [
            ref(),
            ref(SecretScope.IMAGE, "registry.example/base:1.2"),
            ref(SecretScope.IMAGE, DIGEST),
            ref(SecretScope.JOB, "nightly"),
        ]
        elsewhere = [ref(SecretScope.JOB, "weekly"), ref(SecretScope.IMAGE, "web")]
        for each in (*wide_to_narrow, *elsewhere):
            await provider.set(each, str(each), by="")
        for each in reversed(wide_to_narrow):
            assert await value(provider) == str(each)
            await provider.delete(each)
        with pytest.raises(NotFound, match="TOKEN"):
            await value(provider)

    async def test_other_scopes_and_projects_give_nothing(self, provider: SecretProvider) -> None:
        await provider.set(ref(SecretScope.JOB, "weekly"), "a", by="")
        await provider.set(ref(SecretScope.IMAGE, "bas"), "b", by="")
        await provider.set(SecretRef(OTHER, "TOKEN"), "c", by="")
        for place in (HERE, Place(), Place(job="base")):
            with pytest.raises(NotFound, match="TOKEN"):
                await value(provider, place)

    async def test_all_or_the_name_that_is_missing(self, provider: SecretProvider) -> None:
        await provider.set(TOKEN, "a", by="")
        await provider.set(ref(name="KEY"), "b", by="")
        opened = await provider.open(PROJECT, ["TOKEN", "KEY"], HERE)
        assert {name: each.value for name, each in opened.items()} == {"TOKEN": "a", "KEY": "b"}
        with pytest.raises(NotFound, match="'LOST'"):
            await provider.open(PROJECT, ["TOKEN", "LOST"], HERE)
        assert await provider.open(PROJECT, [], HERE) == {}

    async def test_a_list_has_everything_but_values(self, provider: SecretProvider) -> None:
        assert list(await provider.list(PROJECT)) == []
        refs = [
            ref(SecretScope.IMAGE, "a b/ü=20:1", "A"),
            ref(SecretScope.IMAGE, "..", "A"),
            ref(SecretScope.JOB, "nightly", "A"),
            ref(name="A"),
            ref(name="_B2"),
        ]
        made = {each: await provider.set(each, "s3cr3t", by="key:a") for each in reversed(refs)}
        found: list[Secret] = list(await provider.list(PROJECT))
        assert [secret.name for secret in found] == ["A", "A", "A", "A", "_B2"]
        assert {secret.ref: secret for secret in found} == made
        assert "s3cr3t" not in repr(found)
        assert list(await provider.list(OTHER)) == []

    async def test_deleted_is_gone_and_may_be_made_anew(self, provider: SecretProvider) -> None:
        await provider.set(TOKEN, "one", by="")
        await provider.set(TOKEN, "two", by="")
        await provider.delete(TOKEN)
        for call in (provider.get(TOKEN), provider.delete(TOKEN)):
            with pytest.raises(NotFound, match="TOKEN"):
                await call
        assert (await provider.set(TOKEN, "three", by="")).version == 1
        assert await value(provider) == "three"

    async def test_values_that_are_set_at_once_all_get_a_version(self, provider: SecretProvider) -> None:
        made = await asyncio.gather(*(provider.set(TOKEN, str(number), by="") for number in range(4)))
        assert max(secret.version for secret in made) == 4
        assert (await provider.get(TOKEN)).version == 4

    async def test_use_is_noted_or_not_kept(self, provider: SecretProvider) -> None:
        secret = await provider.set(TOKEN, "one", by="")
        await provider.note_use([secret])
        used = (await provider.get(TOKEN)).used_at
        assert used is None or used >= secret.updated_at
