"""Fixtures of the whole suite: one definition each, so that what is dear is made once for the whole run."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.fixtures.leftovers import end_all, working_in

# The demo runs a part of these tests in a guest that has pytest and little else.
_SERVICES = ("postgres", "redis", "s3") if find_spec("sqlalchemy") else ()
pytest_plugins = [f"tests.fixtures.{name}" for name in ("images", "proxy", "vms", *_SERVICES)]


@pytest.fixture(scope="session", autouse=True)
def nothing_left_running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """All temporary directories of this run lie in two places; no process works there when it is over."""
    paths = tmp_path_factory.getbasetemp()
    # Sockets lie in it, whose paths have to be short.
    root = Path(tempfile.mkdtemp(prefix="aet-"))
    before, tempfile.tempdir = tempfile.tempdir, str(root)
    yield
    tempfile.tempdir = before
    left = working_in(root, paths)
    end_all(root, paths)
    shutil.rmtree(root)
    if left:
        pytest.fail("Tests have left processes behind:\n" + "\n".join(left.values()), pytrace=False)
