"""JUnit reports: read with distrust, summed up. A broken report is a warning and never fails a job."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable
from contextlib import aclosing
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any
from xml.etree.ElementTree import ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import iterparse

from aetherium.domain.errors import AetheriumError
from aetherium.domain.guest import FileKind
from aetherium.domain.jobs import FailedTest, TestSummary
from aetherium.interfaces.guest import Guest
from aetherium.sources.tarstream import TarStream
from aetherium.worker.jobs.collecting import Glob, matching

# A report of ten thousand tests has about 2 MB.
MAX_BYTES = 32 << 20
MAX_REPORTS = 500
_KEPT = 50
_MESSAGE = 2000
_NAME = 300


@dataclass(slots=True)
class Reports:
    """The sum of what was read. `summary` is None as long as there was no report."""

    warnings: list[str] = field(default_factory=list)
    summary: TestSummary | None = None
    count: int = 0

    async def read(self, guest: Guest, workdir: str, pattern: str) -> None:
        """Add the reports that match."""
        found = 0
        try:
            async with aclosing(matching(guest, Glob.of(workdir, pattern))) as entries:
                async for entry, stream in entries:
                    if entry.kind is FileKind.FILE and not entry.hard_link:
                        found += 1
                        await self._add(entry.name, entry.size, stream)
        except AetheriumError as error:
            self.warnings.append(f"Reports {pattern!r} cannot be fetched: {error}")
        if not found:
            self.warnings.append(f"No report matches {pattern!r}.")

    async def _add(self, name: str, size: int, stream: TarStream) -> None:
        self.count += 1
        if self.count > MAX_REPORTS or size > MAX_BYTES:
            limit = f"{MAX_REPORTS} reports" if self.count > MAX_REPORTS else f"{MAX_BYTES >> 20} MiB"
            if self.count <= MAX_REPORTS + 1:
                self.warnings.append(f"The report {name!r} is left out: more than {limit}.")
            return
        data = b"".join([piece async for piece in stream.content()])
        try:
            summary = await asyncio.to_thread(parse, data)
        except ValueError as error:
            self.warnings.append(f"The report {name!r} cannot be read: {error}.")
            return
        self.summary = summary if self.summary is None else _sum(self.summary, summary)


def parse(data: bytes) -> TestSummary:
    """The summary of one JUnit XML file. Raises ValueError for what is none."""
    counting = _Counting()
    try:
        for event, element in iterparse(BytesIO(data), events=("start", "end"), forbid_dtd=True):
            counting.see(event, element)
    except DefusedXmlException as error:
        raise ValueError(f"it has a DTD or entities, which are not read ({type(error).__name__})") from error
    except (ParseError, LookupError, RecursionError) as error:
        raise ValueError(f"it is not XML ({error})") from error
    return counting.summary()


class _Counting:
    """Counts test cases as they end; elements are dropped at once."""

    def __init__(self) -> None:
        self._root = ""
        self._suites: list[str] = []
        self._counts = {"tests": 0, "failure": 0, "error": 0, "skipped": 0}
        self._duration = 0.0
        self._failures: list[FailedTest] = []

    def see(self, event: str, element: Any) -> None:
        """One start or end of an element."""
        tag = str(element.tag).rpartition("}")[2]
        if event == "start":
            if not self._root:
                self._root = tag
                if tag not in ("testsuites", "testsuite"):
                    raise ValueError(f"its root is <{tag[:40]}>, not <testsuites> or <testsuite>")
            if tag == "testsuite":
                self._suites.append(element.get("name", ""))
            return
        if tag == "testsuite":
            self._suites.pop()
        elif tag == "testcase":
            self._case(element)
        if tag in ("testsuite", "testcase", "properties", "system-out", "system-err"):
            element.clear()

    def summary(self) -> TestSummary:
        """What was counted."""
        return TestSummary(
            tests=self._counts["tests"],
            failed=self._counts["failure"],
            errors=self._counts["error"],
            skipped=self._counts["skipped"],
            duration_s=round(self._duration, 3),
            failures=tuple(self._failures),
        )

    def _case(self, element: Any) -> None:
        self._counts["tests"] += 1
        self._duration += _seconds(element.get("time"))
        for child in element:
            kind = str(child.tag).rpartition("}")[2]
            if kind in ("failure", "error", "skipped"):
                self._counts[kind] += 1
                if kind != "skipped" and len(self._failures) < _KEPT:
                    self._failures.append(self._failed(element, child))
                return

    def _failed(self, element: Any, child: Any) -> FailedTest:
        suite = element.get("classname") or (self._suites[-1] if self._suites else "")
        text = child.get("message") or (child.text or "").strip()
        return FailedTest(str(element.get("name", ""))[:_NAME], str(suite)[:_NAME], str(text)[:_MESSAGE])


def _seconds(value: str | None) -> float:
    try:
        seconds = float((value or "0").replace(",", ""))
    except ValueError:
        return 0.0
    return seconds if math.isfinite(seconds) and 0 <= seconds < 1e9 else 0.0


def _sum(one: TestSummary, other: TestSummary) -> TestSummary:
    failures: Iterable[FailedTest] = (*one.failures, *other.failures)
    return TestSummary(
        one.tests + other.tests,
        one.failed + other.failed,
        one.errors + other.errors,
        one.skipped + other.skipped,
        round(one.duration_s + other.duration_s, 3),
        tuple(failures)[:_KEPT],
    )
