"""The agent drive: interpreter, agent, git and busybox, which every VM finds at ``/.aetherium``.

::

    agent/aetherium/       the agent: guest/ and protocol/ of this package, compiled
    bin/busybox            static
    bin/git, bin/python3   wrappers around the programs below, which bring their own loader and libraries
    libexec/git            a directory with git, for git that starts git
    lib/ usr/              Debian's files, as far as they are needed
"""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from aetherium.images.squashfs import pack_tree
from aetherium.process import run

PACKAGE = Path(__file__).resolve().parent.parent
LIBRARIES = ("lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu")
LOADER = "lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"
PYTHON = "python3.11"
_PARTS = ("guest", "protocol")
# Of the standard library: what an agent never imports, four fifths of it.
_UNUSED = (
    "asyncio", "concurrent", "curses", "dbm", "distutils", "email", "ensurepip", "html", "http", "idlelib",
    "lib2to3", "multiprocessing", "pydoc_data", "pydoc.py", "sqlite3", "test", "tkinter", "turtle.py",
    "turtledemo", "unittest", "venv", "wsgiref", "xml", "xmlrpc", "config-3.11-x86_64-linux-gnu",
)  # fmt: skip
_WRAPPER = """#!/.aetherium/bin/busybox sh
{env}A=/.aetherium
exec $A/{loader} --library-path $A/{libraries} $A/usr/bin/{program} "$@"
"""
_GIT_ENV = "export GIT_EXEC_PATH=/.aetherium/libexec GIT_TEMPLATE_DIR=/.aetherium/libexec/templates\n"


def sources() -> Iterator[Path]:
    """The files of this package that go onto the drive."""
    yield PACKAGE / "__init__.py"
    for part in _PARTS:
        # Not what is generated for gRPC, which the agent does not speak.
        yield from sorted(path for path in (PACKAGE / part).rglob("*.py") if "generated" not in path.parts)


def source_digest() -> str:
    """Changes when the agent does."""
    digest = hashlib.sha256()
    for path in sources():
        data = path.read_bytes()
        digest.update(f"{path.relative_to(PACKAGE)} {len(data)}\n".encode())
        digest.update(data)
    return digest.hexdigest()


def layout_facts() -> tuple[object, ...]:
    """What `arrange` depends on."""
    return (LIBRARIES, PYTHON, _UNUSED, _WRAPPER, _GIT_ENV)


def arrange(debian: Path, busybox: Path, target: Path) -> None:
    """Lay out what does not depend on this package's source, from unpacked Debian packages."""
    for directory in LIBRARIES:
        (target / directory).mkdir(parents=True)
        for library in (debian / directory).glob("*.so*"):
            shutil.copy2(library, target / directory, follow_symlinks=True)
    unused = shutil.ignore_patterns(*_UNUSED, "__pycache__")
    shutil.copytree(debian / "usr/lib" / PYTHON, target / "usr/lib" / PYTHON, ignore=unused)
    for directory in ("usr/bin", "bin", "libexec/templates"):
        (target / directory).mkdir(parents=True)
    for program in (PYTHON, "git"):
        shutil.copy2(debian / "usr/bin" / program, target / "usr/bin" / program)
    shutil.copy2(busybox, target / "bin/busybox")
    _wrap(target / "bin/python3", PYTHON)
    _wrap(target / "bin/git", "git", _GIT_ENV)
    (target / "libexec/git").symlink_to("../bin/git")


def _wrap(path: Path, program: str, env: str = "") -> None:
    path.write_text(
        _WRAPPER.format(
            env=env, loader=LOADER, program=program, libraries=":$A/".join(LIBRARIES)
        )
    )  # fmt: skip
    path.chmod(0o755)


async def pack(arranged: Path, target: Path) -> None:
    """Add the agent to what `arrange` made, compile all of it, and make the drive."""

    def copy() -> None:
        for path in sources():
            there = arranged / "agent/aetherium" / path.relative_to(PACKAGE)
            there.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, there)

    await asyncio.to_thread(copy)
    # By the drive's own interpreter, whatever runs here; unchecked, so that no boot compares times.
    library_path = ":".join(str(arranged / directory) for directory in LIBRARIES)
    interpreter = [str(arranged / LOADER), "--library-path", library_path, str(arranged / "usr/bin" / PYTHON)]
    options = ["-q", "--invalidation-mode", "unchecked-hash", "-s", str(arranged), "-p", "/.aetherium"]
    compiled = [str(arranged / "agent"), str(arranged / "usr/lib" / PYTHON)]
    await run([*interpreter, "-I", "-S", "-m", "compileall", *options, *compiled], timeout_s=300)
    await pack_tree(arranged, target, compress=False, all_root=True)
