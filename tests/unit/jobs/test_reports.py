"""JUnit reports."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherium.domain.jobs import FailedTest
from aetherium.worker.jobs.reports import parse

PYTEST = b"""<?xml version="1.0" encoding="utf-8"?><testsuites><testsuite name="pytest" tests="5">
<testcase classname="t.a" name="ok" time="0.5"/>
<testcase classname="t.a" name="bad" time="0.25"><failure message="assert 1 == 2">text</failure></testcase>
<testcase classname="t.b" name="broken" time="1"><error message="fixture"/></testcase>
<testcase classname="t.b" name="left" time="0"><skipped message="no"/></testcase>
<testcase name="plain" time="nan"><system-out>x</system-out></testcase>
</testsuite></testsuites>"""


def test_what_pytest_writes() -> None:
    summary = parse(PYTEST)
    assert (summary.tests, summary.failed, summary.errors, summary.skipped) == (5, 1, 1, 1)
    assert (summary.passed, summary.duration_s) == (2, 1.75)
    assert summary.failures == (
        FailedTest("bad", "t.a", "assert 1 == 2"),
        FailedTest("broken", "t.b", "fixture"),
    )


def test_a_lone_suite_with_a_namespace() -> None:
    case = b'<testcase name="a"><failure> why </failure></testcase>'
    summary = parse(b'<testsuite xmlns="x" name="s">' + case + b"</testsuite>")
    assert summary.failures == (FailedTest("a", "s", "why"),)


def test_only_the_first_failures_are_kept() -> None:
    case = '<testcase name="{}"><failure message="' + "m" * 5000 + '"/></testcase>'
    many = "".join(case.format(n) for n in range(80))
    summary = parse(f"<testsuite>{many}</testsuite>".encode())
    assert (summary.failed, len(summary.failures), len(summary.failures[0].message)) == (80, 50, 2000)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not XML"),
        (b"<testsuite>", "not XML"),
        (b"<html></html>", "root is <html>"),
        (b"\xff\xfe\x00", "not XML"),
        (b'<!DOCTYPE a [<!ENTITY x "y">]><testsuite/>', "DTD"),
        (b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><testsuite/>', "DTD"),
        (b'<?xml version="1.0" encoding="nonsense"?><testsuite/>', "not XML"),
    ],
)
def test_hostile_and_broken(data: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse(data)


def test_depth_does_not_matter() -> None:
    assert parse(b"<testsuite>" * 20_000 + b"</testsuite>" * 20_000).tests == 0


@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    try:
        parse(b"<testsuite>" + data)
    except ValueError as error:
        assert str(error)  # noqa: PT017 - either outcome is right
