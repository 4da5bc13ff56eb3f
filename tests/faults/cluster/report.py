"""The table of docs/reliability.md, as the last run with AETHERIUM_TEST_REPORT=1 found it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).parents[3] / "docs" / "reliability.md"
_BEGIN = "<!-- report: written by the tests with AETHERIUM_TEST_REPORT=1 -->\n"
_END = "<!-- end of report -->\n"
_HEAD = "| fault | times | tasks | attempts lost | seconds to recover |\n|---|---|---|---|---|\n"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one fault has cost.

    Args:
        lost: attempts that failed with ``worker_lost``.
        recovered_s: from the end of the last blow until the last task had ended.
    """

    fault: str
    blows: int
    tasks: int
    lost: int
    recovered_s: float

    def __str__(self) -> str:
        return f"| {self.fault} | {self.blows} | {self.tasks} | {self.lost} | {self.recovered_s:.1f} |"


def write(findings: Sequence[Finding], seed: int) -> None:
    """Replace the table, if that is wished."""
    if os.environ.get("AETHERIUM_TEST_REPORT") != "1" or not findings:
        return
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(_BEGIN)
    after = rest.partition(_END)[2]
    rows = "".join(f"{each}\n" for each in findings)
    table = f"{_BEGIN}\nSeed {seed}.\n\n{_HEAD}{rows}\n{_END}"
    PAGE.write_text(before + table + after, encoding="utf-8")
