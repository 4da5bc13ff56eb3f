"""Debian packages, fetched with apt from where this host gets its own, with a state of its own."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from aetherium.domain.errors import ImageFailed, Unavailable
from aetherium.process import ProcessFailed, run

RELEASE = "bookworm"
SUITES = (RELEASE, f"{RELEASE}-updates", f"{RELEASE}-security")
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
LISTS = Path("/var/lib/apt/lists")
# Whom guests that have a network ask for packages.
_MIRROR = "deb.debian.org"
# What an image itself says, whatever mirror it was made from.
PLAIN_SOURCES = (
    f"deb http://{_MIRROR}/debian {RELEASE} main\n"
    f"deb http://{_MIRROR}/debian {RELEASE}-updates main\n"
    f"deb http://{_MIRROR}/debian-security {RELEASE}-security main\n"
)
# The host's ways to its mirror: proxies, retries, checks of dates. Never its hooks or pinnings.
_TRANSPORT = re.compile(r"^Acquire::(https?::|Check-|Retries|Force|Max-ValidTime)\S* \"[^\"]", re.IGNORECASE)
_ONE_LINE = re.compile(
    r"^deb\s+(?:\[(?P<options>[^]]*)\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)\s+(?P<components>.+)$"
)


@dataclass(frozen=True, slots=True)
class Source:
    """One line of a sources.list."""

    uri: str
    suite: str
    options: str = ""

    def __str__(self) -> str:
        options = f"[{self.options}] " if self.options else ""
        return f"deb {options}{self.uri} {self.suite} main"


def host_sources(etc: Path = Path("/etc/apt")) -> list[Source]:
    """Where this host gets Debian's release from; Debian's own servers if it names nothing."""
    files = [etc / "sources.list", *sorted((etc / "sources.list.d").glob("*"))]
    found: dict[Source, None] = {}
    for file in files:
        if file.suffix not in (".list", ".sources") or not file.is_file():
            continue
        text = file.read_text(encoding="utf-8", errors="replace")
        parse = _parse_deb822 if file.suffix == ".sources" else _parse_lines
        found.update(dict.fromkeys(parse(text)))
    if not any(source.suite == RELEASE for source in found):
        return [*_parse_lines(PLAIN_SOURCES.replace("deb ", f"deb [signed-by={KEYRING}] "))]
    return [*found]


def _parse_lines(text: str) -> Iterable[Source]:
    for line in text.splitlines():
        match = _ONE_LINE.match(line.split("#", 1)[0].strip())
        if match and match["suite"] in SUITES and "main" in match["components"].split():
            options = (match["options"] or "").split()
            yield Source(match["uri"], match["suite"], " ".join(o for o in options if _is_trust(o)))


def _is_trust(option: str) -> bool:
    return option.lower().startswith(("signed-by=", "trusted="))


def _parse_deb822(text: str) -> Iterable[Source]:
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    for stanza in re.split(r"\n\s*\n", "\n".join(lines)):
        fields = {
            key.strip().lower(): value.strip()
            for key, _, value in (
                line.partition(":") for line in stanza.splitlines() if line[:1] not in " \t"
            )
        }
        if fields.get("enabled", "yes").lower() in ("no", "false", "0"):
            continue
        if "deb" not in fields.get("types", "").split() or "main" not in fields.get("components", "").split():
            continue
        keyring = fields.get("signed-by", "")
        options = f"signed-by={keyring}" if keyring.startswith("/") else ""
        for uri in fields.get("uris", "").split():
            for suite in fields.get("suites", "").split():
                if suite in SUITES:
                    yield Source(uri, suite, options)


def state(sources: Sequence[Source], lists: Path = LISTS) -> str:
    """A digest of the sources and of what ``apt-get update`` on this host last learnt about the release."""
    digest = hashlib.sha256("\n".join(map(str, sources)).encode())
    for suite in SUITES:
        for file in sorted(lists.glob(f"*_dists_{suite}_InRelease")):
            digest.update(file.name.encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()


async def transport_options() -> str:
    """The host's apt.conf lines about how to reach its mirror."""
    dump = await run(["apt-config", "dump"])
    lines = dump.stdout.decode(errors="replace").splitlines()
    return "".join(f"{line}\n" for line in lines if _TRANSPORT.match(line))


class Apt:
    """apt-get with lists, cache and configuration of its own below `root`.

    `start` comes first; then `versions` and `download`.
    """

    def __init__(self, root: Path, architecture: str) -> None:
        self._root = root
        self._architecture = architecture
        self._env: Mapping[str, str] = {
            "APT_CONFIG": str(root / "apt.conf"),
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "LC_ALL": "C.UTF-8",
        }

    async def start(self, sources: Sequence[Source]) -> None:
        """Fetch the package lists. Raises Unavailable when the mirror cannot be reached."""
        await asyncio.to_thread(self._prepare, sources, await transport_options())
        try:
            await run(["apt-get", "--error-on=any", "update"], env=self._env, timeout_s=300)
        except ProcessFailed as error:
            raise Unavailable(
                f"The package lists of Debian {RELEASE} cannot be fetched: {_apt_reason(error)}",
                hint="Check that 'apt-get update' works on this host.",
            ) from error

    def _prepare(self, sources: Sequence[Source], transport: str) -> None:
        for name in ("etc", "state/lists/partial", "cache/archives/partial"):
            (self._root / name).mkdir(parents=True, exist_ok=True)
        (self._root / "status").touch()
        (self._root / "etc" / "sources.list").write_text("".join(f"{source}\n" for source in sources))
        (self._root / "apt.conf").write_text(
            f'Dir "{self._root}";\nDir::State "state";\nDir::State::status "{self._root}/status";\n'
            'Dir::Cache "cache";\nDir::Etc "etc";\nDir::Etc::trustedparts "/etc/apt/trusted.gpg.d";\n'
            f'APT::Architecture "{self._architecture}";\nAPT::Architectures {{ "{self._architecture}"; }};\n'
            'APT::Sandbox::User "";\nAcquire::Languages "none";\n' + transport
        )

    async def depends(self, package: str) -> list[str]:
        """Names of what `package` depends on, in order; of alternatives the first."""
        shown = await run(["apt-cache", "show", "--no-all-versions", package], env=self._env, check=False)
        match = re.search(r"^Depends: (.*)$", shown.stdout.decode(errors="replace"), re.MULTILINE)
        if shown.exit_code or match is None:
            raise ImageFailed(f"Debian {RELEASE} has no usable package {package!r}.", package=package)
        return [re.split(r"[ |(:]", item.strip(), maxsplit=1)[0] for item in match[1].split(",")]

    async def download(self, packages: Sequence[str], into: Path) -> list[Path]:
        """Fetch the newest versions; returns the .deb files. Signatures are checked by apt."""
        await asyncio.to_thread(into.mkdir, parents=True, exist_ok=True)
        try:
            await run(["apt-get", "download", *packages], cwd=into, env=self._env, timeout_s=900)
        except ProcessFailed as error:
            raise ImageFailed(f"Packages cannot be fetched: {_apt_reason(error)}") from error
        return await asyncio.to_thread(lambda: sorted(into.glob("*.deb")))


def _apt_reason(error: ProcessFailed) -> str:
    lines = [line for line in str(error.details["stderr"]).splitlines() if line.startswith("E: ")]
    return lines[0].removeprefix("E: ") if lines else error.message
