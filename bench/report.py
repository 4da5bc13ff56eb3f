"""What a benchmark measured, as a table for people and as JSON for programs."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Samples:
    """Repeated measurements of one thing, in `unit`."""

    values: tuple[float, ...]
    unit: str = "s"

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    def __str__(self) -> str:
        scale, unit = (1000, "ms") if self.unit == "s" and self.median < 1 else (1, self.unit)
        low, high = min(self.values) * scale, max(self.values) * scale
        spread = f" ({low:.4g} to {high:.4g})" if len(self.values) > 1 else ""
        return f"{self.median * scale:.4g} {unit}{spread}"


@dataclass(frozen=True, slots=True)
class Measurement:
    """One figure.

    Args:
        measured, baseline: medians are compared; no baseline: the figure stands for itself.
        limit: the ratio (or, without a baseline, the value) must not exceed this; None: information only.
        at_least: the ratio must not be below `limit` instead.
    """

    name: str
    measured: Samples
    baseline: Samples | None = None
    baseline_name: str = ""
    limit: float | None = None
    at_least: bool = False
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def figure(self) -> float:
        """The ratio, or without a baseline the value."""
        return self.measured.median / (self.baseline.median if self.baseline else 1.0)

    @property
    def met(self) -> bool | None:
        """Whether the limit is kept; None without one."""
        if self.limit is None:
            return None
        return self.figure >= self.limit if self.at_least else self.figure <= self.limit

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "figure": self.figure, "met": self.met}


def show(measurements: Sequence[Measurement], console: Console) -> None:
    """Print the table."""
    table = Table(title="Aetherium benchmarks (median, with minimum and maximum)", title_justify="left")
    for column in ("what", "measured", "baseline", "ratio", "limit", ""):
        table.add_column(column, justify="right" if column in ("ratio", "limit") else "left")
    for entry in measurements:
        sign = "≥" if entry.at_least else "≤"
        unit = "" if entry.baseline else f" {entry.measured.unit}"
        verdict = {True: "[green]met[/]", False: "[red]missed[/]", None: ""}[entry.met]
        table.add_row(
            entry.name,
            str(entry.measured),
            f"{entry.baseline} {entry.baseline_name}" if entry.baseline else "-",
            f"{entry.figure:.3f}" if entry.baseline else "-",
            f"{sign} {entry.limit:g}{unit}" if entry.limit is not None else "-",
            verdict,
        )
    console.print(table)


def save(measurements: Sequence[Measurement], path: Path, facts: dict[str, Any]) -> None:
    """Write the JSON, with facts of the machine."""
    machine = {"cpus": os.cpu_count(), "kernel": platform.release(), "python": platform.python_version()}
    value = {"machine": machine | facts, "measurements": [entry.to_json() for entry in measurements]}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2) + "\n")
