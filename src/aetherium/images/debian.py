"""Root file systems from Debian packages: mmdebstrap, straight into squashfs."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import shlex
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from aetherium.domain.errors import AetheriumError, ImageFailed, Unavailable
from aetherium.domain.images import ImageConfig, ImageProgress, ImageRecipe
from aetherium.images.apt import PLAIN_SOURCES, RELEASE, Source, transport_options
from aetherium.images.namespace import contained
from aetherium.images.squashfs import pack_stream, translate
from aetherium.interfaces.images import Progress
from aetherium.process import ProcessFailed, spawned

BASE = ImageRecipe(
    name="base",
    packages=(
        "build-essential", "ca-certificates", "curl", "file", "git", "iproute2", "jq", "less", "make",
        "openssh-client", "patch", "pkg-config", "procps", "python-is-python3", "python3", "python3-dev",
        "python3-hypothesis", "python3-pip", "python3-pytest", "python3-setuptools", "python3-venv",
        "python3-wheel", "ripgrep", "rsync", "sudo", "unzip", "xz-utils", "zip",
    ),
    user="agent",
    sudo=True,
)  # fmt: skip
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Directories that a VM mounts something at, and the one where work is done.
MOUNT_POINTS = (".aetherium", "dev", "proc", "run", "sys", "tmp")
_VARIANT = "minbase"
# To be raised when the same recipe and hooks give another root file system.
_FORMAT = 1
_KEPT_LINES = 40
_NEW = re.compile(r"(\d+) newly installed")
_STEP = re.compile(r"^(Unpacking|Setting up) (\S+)")


def recipe_digest(recipe: ImageRecipe) -> str:
    """Changes when the recipe does, or what this version makes of one."""
    made = (recipe, _FORMAT, _VARIANT, _hooks(recipe, Path("versions")))
    return hashlib.sha256(repr(made).encode()).hexdigest()


def config_of(recipe: ImageRecipe) -> ImageConfig:
    """How things run in an image of `recipe`."""
    env = {"PATH": PATH, "LANG": "C.UTF-8"}
    if recipe.user:
        return ImageConfig(user=recipe.user, env=env, workdir="/workspace")
    return ImageConfig(env=env)


async def make_rootfs(
    recipe: ImageRecipe, sources: Sequence[Source], staging: Path, target: Path, progress: Progress
) -> dict[str, str]:
    """Make the squashfs `target`; returns package → version.

    Raises ImageFailed (for instance, for an unknown package), Unavailable when the mirror is, LimitExceeded
    when the disk is full.
    """
    work = staging / "mmdebstrap"
    work.mkdir()
    listing = work / "sources.list"
    options = work / "apt.conf"
    await asyncio.to_thread(listing.write_text, "".join(f"{source}\n" for source in sources))
    await asyncio.to_thread(options.write_text, 'Acquire::Languages "none";\n' + await transport_options())
    # Without fsync for every file: a build that is cut short is thrown away.
    argv = [
        "mmdebstrap", "--mode=root", f"--variant={_VARIANT}", "--format=tar", "--verbose",
        f"--aptopt={options}", "--dpkgopt=force-unsafe-io", f"--include={','.join(recipe.packages)}",
        *(f"--customize-hook={hook}" for hook in _hooks(recipe, work / "versions")),
        RELEASE, "-", str(listing),
    ]  # fmt: skip
    read_end, write_end = os.pipe()
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(pack_stream(read_end, target))
            await _bootstrap(argv, work, write_end, progress)
    except BaseExceptionGroup as errors:
        # When one end of the pipe fails the other does too; the bootstrap's own reason is the better one.
        flat = [error for error in errors.exceptions if isinstance(error, AetheriumError)]
        if len(flat) < len(errors.exceptions):
            raise
        raise next((error for error in flat if "bootstrap" in error.details), flat[0]) from None
    text = await asyncio.to_thread((work / "versions").read_text)
    return dict(line.split(" ", 1) for line in text.splitlines())


def _hooks(recipe: ImageRecipe, versions: Path) -> list[str]:
    """Shell commands; $1 is the root file system."""
    dirs = " ".join(f'"$1"/{name}' for name in (*MOUNT_POINTS, "workspace"))
    hooks = [
        f"mkdir -p {dirs}",
        # The host's mirror and its apt settings are its own business.
        f'rm -f "$1"/etc/apt/apt.conf.d/99mmdebstrap "$1"/etc/dpkg/dpkg.cfg.d/99mmdebstrap '
        f'"$1"/etc/apt/sources.list.d/0000*; '
        f'printf %s {shlex.quote(PLAIN_SOURCES)} >"$1"/etc/apt/sources.list',
        "dpkg-query --admindir=\"$1\"/var/lib/dpkg -W -f '${Package} ${Version}\\n' "
        f">{shlex.quote(str(versions))}",
        # Identity belongs to a VM, and so does its resolver.
        ': >"$1"/etc/machine-id; rm -f "$1"/etc/hostname "$1"/etc/resolv.conf "$1"/var/lib/dbus/machine-id',
        'cd "$1"/var && rm -rf log/apt log/dpkg.log log/bootstrap.log cache/debconf/*-old',
    ]
    if recipe.user:
        hooks.append(
            f'chroot "$1" useradd --create-home --uid 1000 --user-group --shell /bin/bash {recipe.user}; '
            f'chroot "$1" chown {recipe.user}:{recipe.user} /workspace'
        )
        if recipe.sudo:
            hooks.append(
                f'echo "{recipe.user} ALL=(ALL) NOPASSWD: ALL" >"$1"/etc/sudoers.d/{recipe.user}; '
                f'chmod 0440 "$1"/etc/sudoers.d/{recipe.user}'
            )
    return hooks


async def _bootstrap(argv: Sequence[str], work: Path, write_end: int, progress: Progress) -> None:
    env = {"PATH": PATH, "TMPDIR": str(work), "LC_ALL": "C.UTF-8", "HOME": "/root"}
    last: list[str] = []
    with os.fdopen(write_end, "wb") as sink:
        async with spawned(
            contained(argv, mount_proc=True), stdout=sink, stderr=asyncio.subprocess.PIPE, cwd=work, env=env
        ) as process:
            sink.close()  # Or the archive would never end.
            counter = _Counter(progress)
            async for line in _lines(process.stderr):
                counter.see(line)
                last = [*last[-_KEPT_LINES:], line]
            code = await process.wait()
    if code:
        raise _reason(last, code)


async def _lines(stream: asyncio.StreamReader | None) -> AsyncIterator[str]:
    """Lines, however long: what apt prints is not ours to limit, what is kept of a line is."""
    rest = b""
    while stream is not None and (data := await stream.read(65536)):
        *lines, rest = (rest[-65536:] + data).replace(b"\r", b"\n").split(b"\n")
        for line in lines:
            yield line[:2000].decode(errors="replace")
    if rest:
        yield rest[:2000].decode(errors="replace")


class _Counter:
    """Turns what apt and dpkg print into progress: every package is unpacked once and set up once."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._total = 0
        self._done = 0
        progress(ImageProgress("Installing packages"))

    def see(self, line: str) -> None:
        new = _NEW.search(line)
        if new:
            self._total += 2 * int(new[1])
        step = _STEP.match(line)
        if step:
            self._done += 1
            fraction = min(1.0, self._done / self._total) if self._total else None
            self._progress(ImageProgress("Installing packages", fraction, step[2]))


def _reason(lines: Sequence[str], code: int) -> AetheriumError:
    text = "\n".join(lines)
    unknown = re.findall(r"E: Unable to locate package (\S+)", text)
    if unknown:
        return ImageFailed(
            f"Debian {RELEASE} has no package named {unknown[0]!r}.",
            hint="Look for it on packages.debian.org, or with: apt-cache search",
            bootstrap=code,
            packages=unknown,
        )
    if re.search(r"Failed to fetch|Could not resolve|Could not connect", text):
        return Unavailable(
            "Debian's packages cannot be fetched.",
            hint="Check that 'apt-get update' works on this host.",
            bootstrap=code,
            stderr=text[-4000:],
        )
    error = translate(
        ProcessFailed("mmdebstrap failed", argv0="mmdebstrap", exit_code=code, stderr=_errors(lines)),
        "The root file system cannot be made",
    )
    error.details = {**error.details, "bootstrap": code}
    return error


def _errors(lines: Sequence[str]) -> str:
    return "\n".join([line for line in lines if line.startswith("E: ")] or lines[-5:])
