"""The API's description: valid, and complete for each operation."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, cast

import pytest
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import validate

from aetherium.gateway import problems
from aetherium.gateway.access import Services
from aetherium.gateway.app import create_app
from aetherium.gateway.examples import examples

DOCUMENT: dict[str, Any] = create_app(cast(Services, object())).openapi()
OPERATIONS = {
    operation["operationId"]: operation
    for item in DOCUMENT["paths"].values()
    for method, operation in item.items()
}


def test_it_is_valid_and_of_version_3_1() -> None:
    validate(DOCUMENT)
    assert DOCUMENT["openapi"].startswith("3.1.")


def test_operations_have_names_that_tell_what_they_do() -> None:
    count = sum(len(item) for item in DOCUMENT["paths"].values())
    assert len(OPERATIONS) == count, "two have the same name"
    assert {"vms_create", "vms_list", "executions_run", "files_read", "files_read_head", "jobs_submit"} < set(
        OPERATIONS
    )
    for name in OPERATIONS:
        assert re.fullmatch(r"[a-z]+(_[a-z]+)+", name), name


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_says_all_that_there_is_to_know(name: str) -> None:
    operation = OPERATIONS[name]
    assert operation["description"]
    assert 3 < len(operation["summary"]) < 130
    assert operation["tags"]
    for parameter in operation.get("parameters", ()):
        assert parameter.get("description"), parameter["name"]
    for where, content in _contents(operation):
        assert "example" in content or content.get("examples"), where
    for status, response in operation["responses"].items():
        assert response["description"] not in ("", "Successful Response", "Validation Error"), status


@pytest.mark.parametrize("name", [name for name in OPERATIONS if not name.startswith("health_")])
def test_an_operation_tells_its_errors(name: str) -> None:
    operation = OPERATIONS[name]
    found: dict[str, int] = {}
    for status, response in operation["responses"].items():
        for code, example in (
            response.get("content", {}).get(problems.MEDIA_TYPE, {}).get("examples", {}).items()
        ):
            found[code] = example["value"]["status"]
            assert str(found[code]) == status
    assert {"unauthenticated", "forbidden", "rate_limited", "internal", "unavailable"} <= set(found)
    if operation.get("parameters") or "requestBody" in operation:
        assert "invalid_input" in found
    assert found == {code: problems.STATUS[code] for code in found}


def test_who_may_call() -> None:
    assert DOCUMENT["security"] == [{"bearerAuth": []}]
    assert DOCUMENT["components"]["securitySchemes"]["bearerAuth"]["scheme"] == "bearer"
    assert [name for name, operation in OPERATIONS.items() if operation.get("security") == []] == [
        "health_healthz",
        "health_readyz",
    ]


def test_examples_are_what_their_schemas_say() -> None:
    checked = 0
    for name, operation in OPERATIONS.items():
        for where, content in _contents(operation):
            if "$ref" not in str(content.get("schema", {})) or "example" not in content:
                continue
            schema = {**content["schema"], "components": DOCUMENT["components"]}
            errors = list(OAS31Validator(schema).iter_errors(content["example"]))
            assert not errors, (name, where, errors[0].message)
            checked += 1
    assert checked > 80


def test_no_example_is_left_over() -> None:
    assert set(examples()) <= set(DOCUMENT["components"]["schemas"])


def test_what_stays_inside_is_not_described() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    assert {"handle", "owner"}.isdisjoint(schemas["VM"]["properties"])
    assert "HTTPValidationError" not in schemas


def test_streams_have_their_media_types() -> None:
    content = OPERATIONS["executions_output"]["responses"]["200"]["content"]
    assert set(content) == {"application/x-ndjson", "text/event-stream"}
    assert content["text/event-stream"]["example"].startswith("id:out:6,err:0\nevent:output\ndata:{")
    assert set(OPERATIONS["files_read"]["responses"]["206"]["content"]) == {"application/octet-stream"}
    assert set(OPERATIONS["files_write"]["requestBody"]["content"]) == {"application/octet-stream"}


def _contents(operation: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """All bodies of an operation."""
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        yield f"request {kind}", content
    for status, response in operation["responses"].items():
        for kind, content in response.get("content", {}).items():
            yield f"{status} {kind}", content
