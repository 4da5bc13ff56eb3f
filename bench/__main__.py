"""Run the benchmarks: ``python -m bench [--only NAME …] [--quick] [--json FILE]``."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TypeVar

from rich.console import Console

from aetherium.domain.errors import AetheriumError
from bench.against_docker import against_docker
from bench.boots import boots
from bench.gateway.commands import commands
from bench.gateway.requests import requests
from bench.machine import Machine, machine
from bench.report import Measurement, save, show
from bench.streams import slow_reader, streams
from bench.tasks.latency import latency
from bench.tasks.services import Services, services
from bench.tasks.throughput import throughput
from bench.tasks.waiting import depth, fairness

Place = TypeVar("Place")
Suite = Callable[[Place], AsyncIterator[Measurement]]


def vm_suites(*, quick: bool) -> dict[str, Suite[Machine]]:
    """By name. `quick` takes fewer samples and smaller streams: to see that they work."""
    repeat = 2 if quick else 7
    return {
        "boots": lambda where: boots(where, repeat),
        "docker": lambda where: against_docker(where, repeat),
        "streams": lambda where: streams(where, (64 if quick else 1024) << 20),
        "stdout": slow_reader,
        "exec": lambda where: commands(where, repeat),
    }


def task_suites(*, quick: bool) -> dict[str, Suite[Services]]:
    """By name, as above."""
    repeat, count = (1, 1000) if quick else (3, 10_000)
    depths = (10, 10_000) if quick else (10, 10_000, 1_000_000)
    return {
        "tasks": lambda where: throughput(where, count, repeat),
        "latency": lambda where: latency(where, 100 if quick else 400, repeat),
        "depth": lambda where: depth(where, count, repeat, depths),
        "fairness": lambda where: fairness(where, 2 if quick else 7),
    }


def gateway_suites(*, quick: bool) -> dict[str, Suite[None]]:
    """By name, as above."""
    count, repeat = (1000, 2) if quick else (10_000, 5)
    return {"requests": lambda _: requests(count, repeat)}


async def measure(chosen: list[str], *, quick: bool, console: Console) -> list[Measurement]:
    """Run suites one after the other; progress goes to `console`."""
    vms, tasks = vm_suites(quick=quick), task_suites(quick=quick)
    gateways = gateway_suites(quick=quick)
    found: list[Measurement] = []
    if any(name in vms for name in chosen):
        async with machine() as where:
            console.print(f"QEMU {where.probe.facts['qemu']}, {where.probe.reason}")
            found += await _run(vms, chosen, where, console)
    if any(name in tasks for name in chosen):
        async with services() as servers:
            found += await _run(tasks, chosen, servers, console)
    return found + await _run(gateways, chosen, None, console)


async def _run(
    known: dict[str, Suite[Place]], chosen: list[str], where: Place, console: Console
) -> list[Measurement]:
    found = []
    for name in chosen:
        if name not in known:
            continue
        console.print(f"[bold]{name}[/]")
        async for measurement in known[name](where):
            console.print(f"  {measurement.name}: {measurement.measured}")
            found.append(measurement)
    return found


def main() -> int:
    """Returns 0 when every limit is kept, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    names = [*vm_suites(quick=True), *task_suites(quick=True), *gateway_suites(quick=True)]
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME", help="these suites")
    parser.add_argument("--quick", action="store_true", help="few samples: the figures mean little")
    parser.add_argument("--json", type=Path, default=Path("out/bench.json"), metavar="FILE")
    options = parser.parse_args()
    console = Console(stderr=True, highlight=False)
    chosen = options.only or names
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
