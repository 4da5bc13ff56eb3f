"""The whole API, with values that nobody has thought of: no answer is a defect, and none is undescribed.

AETHERIUM_TEST_EXAMPLES: how many requests each operation gets.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess as sp  # noqa: TID251 # constants only; processes are started by aetherium.process
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from aetherium import process
from aetherium.gateway.openapi import describe
from tests.e2e.conftest import CLI, DEADLINE_S, fresh_cli

_EXAMPLES = int(os.environ.get("AETHERIUM_TEST_EXAMPLES") or 8)
_CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
# Building takes minutes and packages; streams do not end. Both have tests of their own.
_LEFT_OUT = ["images_build", "images_import", "events_stream", "files_watch"]
# Seconds. A request that a command or a wait holds up is given an end by the gateway.
_PATIENCE = 60.0

schemathesis.serializer.alias("application/x-tar", "application/octet-stream")

_many = settings(
    max_examples=_EXAMPLES,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)


@dataclass(frozen=True, slots=True)
class Served:
    """A gateway of its own process.

    Attributes:
        keys: of callers, by name.
    """

    url: str
    keys: dict[str, str] = field(repr=False)


@pytest.fixture(scope="module")
async def served() -> AsyncIterator[Served]:
    async with fresh_cli() as cli:
        environment = cli.env(
            AETHERIUM_LISTEN="127.0.0.1:0",
            AETHERIUM_POOL="[]",
            AETHERIUM_RATE_LIMIT_KEY="1000000/minute",
            AETHERIUM_RATE_LIMIT_ADDRESS="1000000/minute",
        )
        command = cli.argv("up", "--json")
        async with process.spawned(command, env=environment, stdin=sp.DEVNULL, stdout=sp.PIPE) as child:
            assert child.stdout is not None
            async with asyncio.timeout(DEADLINE_S):
                facts = json.loads(await child.stdout.readline())
            tenant = await _tenant(cli)
            yield Served(facts["url"], {"installation": facts["first_key"], "tenant": tenant, "nobody": ""})
            child.send_signal(signal.SIGTERM)
            async with asyncio.timeout(DEADLINE_S):
                assert await child.wait() == 0


async def _tenant(cli: CLI) -> str:
    """The key of a project's administrator."""
    await cli.json("project", "create", "tenant")
    made = await cli.json("api-key", "create", "fuzz", "--project", "tenant", "--role", "admin")
    return str(made["secret"])


Operation = APIOperation[Any, Any, Any, Any]


def _operations() -> Iterator[Operation]:
    found = schemathesis.openapi.from_dict(describe()).exclude(operation_id=_LEFT_OUT)
    for result in found.get_all_operations():
        assert isinstance(result, Ok), result
        yield result.ok()


@pytest.mark.parametrize("caller", ["tenant", "installation", "nobody"])
@pytest.mark.parametrize("operation", list(_operations()), ids=lambda found: found.label)
def test_no_answer_is_a_defect_or_undescribed(served: Served, operation: Operation, caller: str) -> None:
    key = served.keys[caller]
    headers = {"authorization": f"Bearer {key}"} if key else {}

    @_many
    @given(case=operation.as_strategy())
    def tried(case: schemathesis.Case[Any]) -> None:
        answer = case.call(base_url=served.url, headers=headers, timeout=_PATIENCE)
        case.validate_response(answer, checks=_CHECKS)

    tried()
