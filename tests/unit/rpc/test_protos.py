"""The generated code is that of the .proto files."""

from __future__ import annotations

from pathlib import Path

from aetherium.process import run

ROOT = Path(__file__).parents[3]
GENERATED = "aetherium/protocol/generated"


async def test_the_generated_code_is_up_to_date(tmp_path: Path) -> None:
    await run([str(ROOT / "scripts/protos"), str(tmp_path)], timeout_s=60)
    made = {path.name: path.read_text() for path in (tmp_path / GENERATED).iterdir()}
    kept = {path.name: path.read_text() for path in (ROOT / "src" / GENERATED).glob("*_pb2*")}
    assert made.keys() == kept.keys()
    stale = [name for name in made if made[name] != kept[name]]
    assert not stale, "Run scripts/protos."
