"""Run the benchmarks: ``python -m bench [--only NAME …] [--quick] [--json FILE]``."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from rich.console import Console

from aetherium.domain.errors import AetheriumError
from bench.against_docker import against_docker
from bench.boots import boots
from bench.machine import Machine, machine
from bench.report import Measurement, save, show
from bench.streams import slow_reader, streams

Suite = Callable[[Machine], AsyncIterator[Measurement]]


def suites(*, quick: bool) -> dict[str, Suite]:
    """By name. `quick` takes fewer samples and smaller streams: to see that they work."""
    repeat = 2 if quick else 7
    return {
        "boots": lambda where: boots(where, repeat),
        "docker": lambda where: against_docker(where, repeat),
        "streams": lambda where: streams(where, (64 if quick else 1024) << 20),
        "stdout": slow_reader,
    }


async def measure(chosen: list[str], *, quick: bool, console: Console) -> list[Measurement]:
    """Run suites one after the other; progress goes to `console`."""
    found: list[Measurement] = []
    async with machine() as where:
        console.print(f"QEMU {where.probe.facts['qemu']}, {where.probe.reason}")
        for name in chosen:
            console.print(f"[bold]{name}[/]")
            async for measurement in suites(quick=quick)[name](where):
                console.print(f"  {measurement.name}: {measurement.measured}")
                found.append(measurement)
    return found


def main() -> int:
    """Returns 0 when every limit is kept, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--only", nargs="+", choices=[*suites(quick=True)], metavar="NAME", help="these suites"
    )
    parser.add_argument("--quick", action="store_true", help="few samples: the figures mean little")
    parser.add_argument("--json", type=Path, default=Path("out/bench.json"), metavar="FILE")
    options = parser.parse_args()
    console = Console(stderr=True, highlight=False)
    chosen = options.only or [*suites(quick=options.quick)]
    try:
        found = asyncio.run(measure(chosen, quick=options.quick, console=console))
    except AetheriumError as error:
        console.print(f"[red]{error}[/]")
        return 2
    # Eighty columns, as assumed for a pipe, are too few.
    plain = Console(highlight=False)
    show(found, plain if plain.is_terminal else Console(highlight=False, width=150))
    save(found, options.json, {"quick": options.quick})
    console.print(f"JSON: {options.json}")
    return 0 if all(entry.met is not False for entry in found) else 1


if __name__ == "__main__":
    sys.exit(main())
