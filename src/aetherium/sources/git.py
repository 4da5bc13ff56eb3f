"""Git on the host, against repositories that nobody vouches for.

It works only in bare repositories of our own making: no working tree, no hooks, no configuration but ours, no
credentials, no prompts, no submodules, no protocols that run programs. A repository's content is data to it.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from aetherium.domain.errors import DeadlineExceeded, InvalidInput, LimitExceeded, SourceFailed
from aetherium.process import Completed, find_tool, run, spawned
from aetherium.sources.tarstream import PIECE

PROTOCOLS = "https:http:ssh:git:file"
# What a hostile pack may use of the host's memory, and how large a pack git maps at once.
_ADDRESS_SPACE = 4 << 30
_OPTIONS = (
    "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "gc.auto=0",
    "-c", "maintenance.auto=false", "-c", "core.packedGitWindowSize=64m", "-c", "core.packedGitLimit=512m",
    "-c", "pack.threads=1", "-c", "tar.umask=0022", "-c", "fetch.writeCommitGraph=false",
    "-c", "advice.detachedHead=false", "-c", "init.defaultBranch=main", "-c", "core.protectNTFS=false",
)  # fmt: skip
_PASSED = (
    "HOME", "PATH", "SSH_AUTH_SOCK", "http_proxy", "https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY",
    "ALL_PROXY", "all_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO",
)  # fmt: skip
_SIGXFSZ = re.compile(r"signal 25|File size limit|File too large")
_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")


@dataclass(frozen=True, slots=True)
class GitLimits:
    """Bytes of what is fetched, and seconds that one call of git may take."""

    max_bytes: int
    timeout_s: float = 1800.0


def environment(**more: str) -> dict[str, str]:
    """What git sees of the host."""
    passed = {name: os.environ[name] for name in _PASSED if name in os.environ}
    return {
        **passed,
        "LC_ALL": "C",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "false",
        "SSH_ASKPASS": "false",
        "GIT_SSH_COMMAND": "ssh -o BatchMode=yes",
        "GIT_ALLOW_PROTOCOL": PROTOCOLS,
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_OPTIONAL_LOCKS": "0",
        **more,
    }


async def git(
    *words: str,
    cwd: Path,
    limits: GitLimits,
    env: Mapping[str, str] | None = None,
) -> Completed:
    """Run git, whatever its exit code. Raises LimitExceeded and DeadlineExceeded."""
    find_tool("git")
    argv = ["prlimit", f"--fsize={limits.max_bytes}", f"--as={_ADDRESS_SPACE}", "--core=0"]
    argv += ["git", *_OPTIONS, *words]
    try:
        done = await run(argv, cwd=cwd, env=env or environment(), timeout_s=limits.timeout_s, check=False)
    except DeadlineExceeded as error:
        raise SourceFailed(
            f"git {words[0]} did not finish within {limits.timeout_s:g} seconds.",
            hint="Is the server reachable? A smaller 'depth' fetches less.",
        ) from error
    if done.exit_code and (done.exit_code == -25 or _SIGXFSZ.search(message(done))):
        raise LimitExceeded(
            f"The repository has more than {limits.max_bytes >> 20} MiB.",
            hint="Use a smaller 'depth'; the setting source_mib is the limit.",
            limit=limits.max_bytes,
        )
    return done


def message(done: Completed) -> str:
    """What git said last."""
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    said = [line for line in lines if line.startswith(("fatal:", "error:", "remote:"))] or lines
    return said[0][:500] if said else f"exit code {done.exit_code}"


def check_url(url: str) -> None:
    """Raises InvalidInput for what git would take for something else than an address, and for credentials."""
    if not url or url.startswith("-") or any(ord(character) < 33 for character in url) or "::" in url:
        raise InvalidInput(f"{url!r} is not the address of a git repository.", field="git")
    match = re.match(r"^([a-z][a-z0-9+.-]*)://(?:([^/@]*)@)?", url, re.IGNORECASE)
    if match is None:
        return  # scp-like, or a path
    scheme, user = match.group(1).lower(), match.group(2)
    if scheme not in PROTOCOLS.split(":"):
        raise InvalidInput(
            f"The protocol {scheme!r} is not used.", hint="Use https, ssh, git or file.", field="git"
        )
    if user is not None and (scheme != "ssh" or ":" in user):
        raise InvalidInput(
            "The address of the git repository has credentials in it, which would be stored.",
            hint="Leave them out, and use ssh or a directory for a private repository.",
            field="git",
        )


def is_commit(text: str) -> bool:
    """Whether it has the form of a whole commit id."""
    return bool(_COMMIT.fullmatch(text))


class Repository:
    """A bare repository of ours in `path`.

    Args:
        options: of git itself, for all that is done in it.
    """

    def __init__(self, path: Path, limits: GitLimits, options: Sequence[str] = ()) -> None:
        self.path = path
        self.limits = limits
        self._options = options

    async def create(self, object_format: str = "sha1") -> None:
        """Make it, without hooks or anything else from a template."""
        await asyncio.to_thread(self.path.mkdir, mode=0o700, parents=True)
        await self.run("init", "--quiet", "--bare", "--template=", f"--object-format={object_format}", ".")
        # Content goes out as it is in the commit, whatever its attributes say of release archives.
        await asyncio.to_thread(self._write, "info/attributes", "* -export-ignore -export-subst\n")

    async def run(self, *words: str, index: str = "") -> str:
        """Run git in it and return its output; `index`: another index file. Raises SourceFailed."""
        done = await self.try_run(*words, index=index)
        if done.exit_code:
            raise SourceFailed(f"git {words[0]} failed: {message(done)}.")
        return done.stdout.decode(errors="surrogateescape").strip()

    async def try_run(self, *words: str, index: str = "") -> Completed:
        """Run git in it, whatever the exit code."""
        variables = environment(GIT_DIR=".", **({"GIT_INDEX_FILE": index} if index else {}))
        return await git(*self._options, *words, cwd=self.path, limits=self.limits, env=variables)

    async def fetch(self, url: str, *refspecs: str, depth: int | None) -> Completed:
        """Fetch, and nothing else than what was asked for."""
        options = ["--quiet", "--no-tags", "--no-recurse-submodules", "--force", "--update-shallow"]
        options.append("--no-write-fetch-head")
        if depth is not None:
            options.append(f"--depth={depth}")
        return await self.try_run("fetch", *options, "--", url, *refspecs)

    async def commit(self, revision: str) -> str | None:
        """The id of the commit that `revision` names."""
        found = await self.try_run(
            "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"
        )
        return found.stdout.decode().strip() or None

    async def check_out(self, commit: str, branch: str = "") -> None:
        """Let HEAD be that commit, on a branch if one is named, and fill the index."""
        if branch:
            await self.run("update-ref", f"refs/heads/{branch}", commit)
            await self.run("symbolic-ref", "HEAD", f"refs/heads/{branch}")
        else:
            await self.run("update-ref", "--no-deref", "HEAD", commit)
        await self.run("read-tree", commit)

    async def archive(self, tree: str) -> AsyncGenerator[bytes, None]:
        """All files of a commit or tree as a tar stream."""
        argv = ["git", *_OPTIONS, "archive", "--format=tar", tree]
        env = environment(GIT_DIR=".")
        async with spawned(argv, stdout=asyncio.subprocess.PIPE, cwd=self.path, env=env) as process:
            while process.stdout is not None and (piece := await process.stdout.read(PIECE)):
                yield piece
            if await process.wait():
                raise SourceFailed(f"git archive failed with exit code {process.returncode}.")

    def names(self) -> Sequence[str]:
        """The files that make a ``.git`` directory of it, directories before what they hold."""
        found = ["HEAD", "config", "index", "shallow", "packed-refs"]
        for part in ("refs", "objects"):
            for path in sorted((self.path / part).rglob("*")):
                found.append(str(path.relative_to(self.path)))
        return [name for name in ["refs", "objects", *found] if (self.path / name).exists()]

    def configure(self, origin: str) -> None:
        """Write the configuration that the guest sees."""
        config = self.path / "config"
        text = re.sub(
            r"(?m)^\s*bare = .*\n", "\tbare = false\n\tlogallrefupdates = true\n", config.read_text()
        )
        if origin:
            quoted = origin.replace("\\", "\\\\").replace('"', '\\"')
            text += f'[remote "origin"]\n\turl = "{quoted}"\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n'
        config.write_text(text)

    def _write(self, name: str, text: str) -> None:
        (self.path / name).parent.mkdir(exist_ok=True)
        (self.path / name).write_text(text)
