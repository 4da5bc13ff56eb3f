"""The table of docs/reliability.md: of each fault what the last run with AETHERIUM_TEST_REPORT=1 found."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).parents[3] / "docs" / "reliability.md"
_BEGIN = "<!-- report: written by the tests with AETHERIUM_TEST_REPORT=1 -->\n"
_END = "<!-- end of report -->\n"
_HEAD = "| fault | times | tasks | attempts lost | seconds to recover | seed |\n|---|---|---|---|---|---|\n"

# The first cells of the two rows that the table begins with.
_NO_FAULTS = ("fault", "---")


@dataclass(frozen=True, slots=True)
class Finding:
    """What one fault has cost.

    Args:
        lost: attempts that it has ended.
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
    """Replace the rows of these faults, if that is wished."""
    if os.environ.get("AETHERIUM_TEST_REPORT") != "1" or not findings:
        return
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(_BEGIN)
    table, _, after = rest.partition(_END)
    rows = {_fault(row): row for row in table.splitlines() if row.startswith("|")}
    found = {each.fault: f"{each} {seed} |" for each in findings}
    body = [row for fault, row in (rows | found).items() if fault not in _NO_FAULTS]
    lines = "".join(f"{row}\n" for row in body)
    PAGE.write_text(f"{before}{_BEGIN}\n{_HEAD}{lines}\n{_END}{after}", encoding="utf-8")


def _fault(row: str) -> str:
    return row.split("|")[1].strip()
