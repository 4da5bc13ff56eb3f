"""The .proto files against the stored ones: what clients know stays as it is.

`scripts/protos baseline` stores them anew; that is for a release, or for a change that breaks nobody on
purpose.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from aetherium.process import ProcessFailed, run

ROOT = Path(__file__).parents[3]
PROTOCOL = ROOT / "src/aetherium/protocol"


async def _breaking(protocol: Path) -> None:
    """Raises ProcessFailed, with what breaks."""
    baseline = PROTOCOL / "baseline.binpb"
    buf = str(ROOT / ".venv/bin/buf")
    await run([buf, "breaking", str(protocol), "--against", str(baseline)], timeout_s=60)


async def test_nothing_breaks() -> None:
    await _breaking(PROTOCOL)


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("vms", "optional string image = 1;", "optional string picture = 1;"),
        ("tasks", "int32 attempt = 8;", "string attempt = 8;"),
        ("events", "int64 seq = 7;", ""),
        ("jobs", "JOB_STATE_FAILED = 4;", "JOB_STATE_BROKEN = 4;"),
        (
            "queues",
            "  rpc ClearLimit(QueueServiceClearLimitRequest) returns (QueueServiceClearLimitResponse);",
            "",
        ),
    ],
)
async def test_what_breaks_clients_is_found(tmp_path: Path, file: str, old: str, new: str) -> None:
    protocol = tmp_path / "protocol"
    shutil.copytree(PROTOCOL, protocol, ignore=shutil.ignore_patterns("generated", "*.py"))
    path = protocol / f"aetherium/v1/{file}.proto"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(ProcessFailed):
        await _breaking(protocol)
