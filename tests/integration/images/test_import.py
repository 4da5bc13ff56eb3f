"""OCI images: imported, booted, refused."""

from __future__ import annotations

import gzip
import tarfile
from pathlib import Path

import pytest

from aetherium.domain.errors import ImageFailed, InvalidInput, LimitExceeded
from aetherium.domain.executions import ExecutionSpec
from aetherium.images.builder import DiskImageBuilder
from aetherium.images.store import DiskImageStore
from aetherium.process import run
from tests.fixtures.images import Member, directory, layer, link, write_oci
from tests.integration.images.vm import booted


async def _listing(store: DiskImageStore, digest: str) -> str:
    paths = await store.paths(digest)
    return (await run(["unsquashfs", "-lln", str(paths.rootfs)])).stdout.decode()


async def test_an_oci_layout_becomes_an_image(image_store_copy: DiskImageStore, busybox_oci: str) -> None:
    seen = []
    image = await DiskImageBuilder(image_store_copy).import_image(
        busybox_oci, progress=lambda step: seen.append(step.stage)
    )
    assert image.tags == ("layout:tiny",)
    assert image.config.user == "user"
    assert image.config.env["GREETING"] == "hello"
    assert image.config.workdir == "/home/user"
    assert image.config.cmd == ("/bin/sh",)
    assert len(list(image.provenance["layers"])) == 2  # type: ignore[call-overload]  # a list, as told
    assert image.source == "oci:layout:tiny"
    assert "Fetching the image" in seen
    assert seen[-1] == "Storing the image"
    listing = await _listing(image_store_copy, image.digest)
    assert "squashfs-root/etc/greeting" in listing
    assert "squashfs-root/etc/gone" not in listing
    assert ".wh." not in listing
    mine = next(line for line in listing.splitlines() if line.endswith("home/user/mine"))
    assert "1000/1000" in mine


@pytest.mark.vm
async def test_an_image_without_python_boots(
    image_store_copy: DiskImageStore, busybox_oci: str, tmp_path: Path
) -> None:
    image = await DiskImageBuilder(image_store_copy).import_image(busybox_oci, tag="tiny")
    paths = await image_store_copy.paths(image.digest)
    work = tmp_path / "vm"
    work.mkdir()
    async with booted(paths, work) as guest:
        spec = ExecutionSpec(
            argv=("/bin/sh", "-c", "cat /etc/greeting; echo more >/etc/greeting; cat /etc/greeting")
        )
        result, output, _ = await guest.run("one", spec)
        assert (result.exit_code, output) == (0, b"hello\nmore\n")
        spec = ExecutionSpec(argv=("/.aetherium/bin/git", "--version"))
        result, output, _ = await guest.run("two", spec)
        assert result.exit_code == 0
        assert output.startswith(b"git version")


@pytest.mark.vm
async def test_an_image_without_any_program_boots(
    image_store_copy: DiskImageStore, empty_oci: str, tmp_path: Path
) -> None:
    image = await DiskImageBuilder(image_store_copy).import_image(empty_oci, tag="empty")
    paths = await image_store_copy.paths(image.digest)
    work = tmp_path / "vm"
    work.mkdir()
    async with booted(paths, work) as guest:
        content = b"".join([chunk async for chunk in guest.read("/data.txt")])
        assert content == b"only data\n"
        argv = ("/.aetherium/bin/python3", "-c", "import tarfile, ctypes, re; print('here')")
        result, output, errors = await guest.run("one", ExecutionSpec(argv=argv))
        assert (result.exit_code, output, errors) == (0, b"here\n", b"")


async def test_a_docker_archive_becomes_the_same_root(
    image_store_copy: DiskImageStore, busybox_oci: str, tmp_path: Path
) -> None:
    archive = tmp_path / "saved.tar"
    await run(["skopeo", "--insecure-policy", "copy", "-q", busybox_oci, f"docker-archive:{archive}:tiny:1"])
    builder = DiskImageBuilder(image_store_copy)
    image = await builder.import_image(f"docker-archive:{archive}")
    assert image.tags == ("saved",)
    assert "squashfs-root/etc/greeting" in await _listing(image_store_copy, image.digest)


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ([layer([Member("../escape", b"x")])], "climbs out"),
        ([layer([Member("a/../../escape", b"x")])], "climbs out"),
        ([layer([Member("a", kind=tarfile.LNKTYPE, link="../../etc/passwd")])], "climbs out"),
        ([layer([Member("a", kind=tarfile.LNKTYPE, link="not/there")])], "cannot be unpacked"),
        ([layer([link("proc", "/etc")])], "cannot be booted"),
        ([layer([Member(".aetherium", b"a file")])], "cannot be booted"),
        ([b"this is no tar archive" * 100], "no usable tar archive"),
        ([layer([Member("cut", b"x" * 100_000)])[:50_000]], "no usable tar archive"),
    ],
)
async def test_hostile_layers_are_refused(
    image_store_copy: DiskImageStore, tmp_path: Path, layers: list[bytes], words: str
) -> None:
    source = write_oci(tmp_path / "bad", layers)
    before = {image.digest for image in await image_store_copy.list()}
    with pytest.raises(ImageFailed, match=words):
        await DiskImageBuilder(image_store_copy).import_image(source)
    assert {image.digest for image in await image_store_copy.list()} == before
    assert not [*image_store_copy.layout.staging.iterdir()]


async def test_a_link_out_of_the_root_is_not_followed(
    image_store_copy: DiskImageStore, tmp_path: Path
) -> None:
    """A layer that makes a link to a directory of the host, and a later one that writes through it."""
    outside = tmp_path / "outside"
    outside.mkdir()
    lower = layer([link("out", str(outside))])
    upper = layer([Member("out/file", b"written through")])
    source = write_oci(tmp_path / "bad", [lower, upper])
    await DiskImageBuilder(image_store_copy).import_image(source)
    assert not [*outside.iterdir()]


async def test_an_image_that_unpacks_to_too_much(image_store_copy: DiskImageStore, tmp_path: Path) -> None:
    source = write_oci(tmp_path / "bomb", [layer([directory("d"), Member("d/zeros", bytes(5 << 20))])])
    with pytest.raises(LimitExceeded, match="more than 1048576 bytes"):
        await DiskImageBuilder(image_store_copy).import_image(source, max_bytes=1 << 20)


async def test_another_architecture(image_store_copy: DiskImageStore, tmp_path: Path) -> None:
    source = write_oci(tmp_path / "arm", [layer([Member("a", b"x")])], architecture="arm64")
    with pytest.raises(ImageFailed, match="linux/arm64"):
        await DiskImageBuilder(image_store_copy).import_image(source)


async def test_a_damaged_blob(image_store_copy: DiskImageStore, tmp_path: Path) -> None:
    source = write_oci(tmp_path / "bad", [layer([Member("a", b"x")])])
    for blob in (tmp_path / "bad/blobs/sha256").iterdir():
        if blob.read_bytes().startswith(gzip.compress(b"")[:3]):
            blob.write_bytes(blob.read_bytes() + b"more")
    with pytest.raises(ImageFailed):
        await DiskImageBuilder(image_store_copy).import_image(source)


@pytest.mark.parametrize(
    "source", ["oci:{tmp}", "oci:{tmp}/none", "docker-archive:{tmp}/none.tar", "tiny", "oci:"]
)
async def test_a_source_that_is_none(image_store_copy: DiskImageStore, tmp_path: Path, source: str) -> None:
    with pytest.raises(InvalidInput):
        await DiskImageBuilder(image_store_copy).import_image(source.format(tmp=tmp_path))


async def test_an_archive_that_is_none(image_store_copy: DiskImageStore, tmp_path: Path) -> None:
    file = tmp_path / "no.tar"
    file.write_bytes(b"nothing like it" * 1000)
    with pytest.raises(ImageFailed, match="cannot be read"):
        await DiskImageBuilder(image_store_copy).import_image(f"docker-archive:{file}")
