"""The image `base`: built, found again, booted."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from aetherium.domain.errors import ImageFailed
from aetherium.domain.executions import ExecutionSpec
from aetherium.domain.images import ImageRecipe
from aetherium.images import agent_drive, apt
from aetherium.images.builder import DiskImageBuilder
from aetherium.images.store import DiskImageStore
from tests.integration.images.vm import argv_for, booted, boots_to_end


async def test_a_second_build_takes_less_than_a_second(image_store_copy: DiskImageStore) -> None:
    builder = DiskImageBuilder(image_store_copy)
    first = await builder.build()
    began = time.monotonic()
    assert await builder.build() == first
    assert time.monotonic() - began < 1
    assert "base" in first.tags


async def test_provenance_names_packages_and_no_mirror(base_image_store: DiskImageStore) -> None:
    image = await base_image_store.get("base")
    packages = image.provenance["packages"]
    assert isinstance(packages, dict)
    assert {"python3", "git", "sudo", "ca-certificates"} <= set(packages)
    written = str(image.provenance)
    assert not any(source.uri in written for source in apt.host_sources())


async def test_a_new_agent_renews_the_drive_only(
    image_store_copy: DiskImageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    builder = DiskImageBuilder(image_store_copy)
    old = await builder.build()
    assert await builder.refresh() == []
    digest = agent_drive.source_digest()
    extra = Path(agent_drive.__file__)
    files = [*agent_drive.sources(), extra]  # any file of the package that was not there
    monkeypatch.setattr(agent_drive, "sources", lambda: iter(files))
    assert agent_drive.source_digest() != digest
    changed = await builder.refresh()
    assert [image.tags for image in changed] == [old.tags]
    new = await image_store_copy.get("base")
    assert new.digest != old.digest
    before, after = [await image_store_copy.manifest(image.digest) for image in (old, new)]
    assert before.rootfs == after.rootfs
    assert before.platform.kernel == after.platform.kernel
    assert before.platform.agent_drive != after.platform.agent_drive
    assert await builder.refresh() == []


async def test_an_unknown_package(image_store_copy: DiskImageStore) -> None:
    recipe = ImageRecipe(name="odd", packages=("no-such-package-anywhere",))
    with pytest.raises(ImageFailed, match="no-such-package-anywhere"):
        await DiskImageBuilder(image_store_copy).build(recipe)
    assert not [*image_store_copy.layout.staging.iterdir()]


@pytest.mark.vm
async def test_base_is_what_its_page_says(base_image_store: DiskImageStore, tmp_path: Path) -> None:
    image = await base_image_store.get("base")
    async with booted(await base_image_store.paths(image.digest), tmp_path) as guest:

        async def output(command: str) -> str:
            spec = ExecutionSpec(
                argv=("/bin/sh", "-c", command), user=image.config.user, cwd=image.config.workdir
            )
            result, out, err = await guest.run(f"x{hash(command)}", spec)
            assert result.exit_code == 0, err
            return out.decode().strip()

        assert await output("id -un; id -u; pwd; touch here && ls") == "agent\n1000\n/workspace\nhere"
        assert await output("sudo -n id -u") == "0"
        assert await output("git --version && cc --version | head -1 && python3 -m pytest --version")
        assert await output("cat /etc/apt/sources.list") == apt.PLAIN_SOURCES.strip()
        assert (
            await output("ls /etc/apt/sources.list.d /etc/dpkg/dpkg.cfg.d | grep -c mmdebstrap || true")
            == "0"
        )
        mounts = await output("cut -d' ' -f2,3 /proc/mounts")
        wanted = [
            "/ overlay",
            "/.aetherium squashfs",
            "/proc proc",
            "/dev/pts devpts",
            "/sys/fs/cgroup cgroup2",
        ]
        assert set(wanted) <= set(mounts.splitlines())
        assert await output(
            "readlink /dev/fd; ls /sys/class/net/lo >/dev/null && cat /sys/class/net/lo/flags"
        ) == ("/proc/self/fd\n0x9")


@pytest.mark.vm
@pytest.mark.parametrize("missing", ["root", "agent", "scratch"])
async def test_a_missing_drive_is_named(
    base_image_store: DiskImageStore, tmp_path: Path, missing: str
) -> None:
    paths = await base_image_store.paths((await base_image_store.get("base")).digest)
    drives = tuple(name for name in ("root", "agent", "scratch") if name != missing)
    console = await boots_to_end(await argv_for(paths, tmp_path, drives=drives), tmp_path)
    assert f'aetherium: boot failed: there is no drive with the serial "{missing}"' in console


@pytest.mark.vm
async def test_another_init(base_image_store: DiskImageStore, tmp_path: Path) -> None:
    paths = await base_image_store.paths((await base_image_store.get("base")).digest)
    argv = await argv_for(paths, tmp_path, extra="aetherium.init=/.aetherium/bin/nothing")
    assert "nothing" in await boots_to_end(argv, tmp_path)
