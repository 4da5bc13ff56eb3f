"""The API's description (OpenAPI 3.1), made of what FastAPI sees of the routes and of what holds for all of
them: summaries, examples, errors, who may call."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

from fastapi import FastAPI
from fastapi.routing import APIRoute

from aetherium.gateway import problems, wire
from aetherium.gateway.describing import errors
from aetherium.gateway.examples import examples

# Where a stream's example has the example of a schema.
_PLACE = re.compile(r'"<(\w+)>"')
_METHODS = ("get", "head", "put", "post", "delete")
_BODY = "application/json"
# What everybody may ask for.
_OPEN = ("/healthz", "/readyz")
_PARAMETERS = {
    "ref": "An id, a name, or the begin of an id (6 characters or more).",
    "execution_id": "The id of an execution.",
    "name": "A name, as listed.",
    "priority": "A queue.",
    "task_type": "A type of tasks.",
}
_STATUS = {
    "200": "What was asked for.",
    "201": "It was made.",
    "204": "It was done.",
}
_EVERYWHERE = ("unauthenticated", "forbidden", "not_found", "rate_limited", "internal", "unavailable")
_BEARER = {
    "type": "http",
    "scheme": "bearer",
    "description": "An API key or a JWT. Over the Unix socket none is needed.",
}


def operation_id(route: APIRoute) -> str:
    """A name that stays: the resource and what is done to it."""
    resource = route.endpoint.__module__.rpartition(".")[2]
    verb = {"index": "list"}.get(route.name, route.name).removesuffix(f"_{resource.removesuffix('s')}")
    return f"{resource}_{verb}" + ("_head" if route.methods == {"HEAD"} else "")


def install(app: FastAPI) -> None:
    """Let `app` describe itself."""
    make = app.openapi

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = make()
            _describe(document)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = described  # type: ignore[method-assign]  # as FastAPI's own guide has it


def _describe(document: dict[str, Any]) -> None:
    components = document["components"]
    schemas = components["schemas"]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas["Problem"] = problems.schema()
    for name, hidden in wire.HIDDEN.items():
        for field in hidden:
            if field in schemas.get(name, {}).get("properties", {}) and not isinstance(hidden, Mapping):
                del schemas[name]["properties"][field]
    for name, example in examples().items():
        if name in schemas:
            schemas[name]["examples"] = [example]
    components["securitySchemes"] = {"bearerAuth": _BEARER}
    document["security"] = [{"bearerAuth": []}]
    for path, operation in _operations(document):
        _describe_operation(path, operation)


def _operations(document: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method in _METHODS:
            if method in item:
                yield path, item[method]


def _describe_operation(path: str, operation: dict[str, Any]) -> None:
    description = " ".join(operation.get("description", "").split())
    operation["description"] = description
    operation["summary"] = re.split(r"[.:;] |[.:;]$", description)[0]
    for parameter in operation.get("parameters", ()):
        if parameter["in"] == "path":
            parameter.setdefault("description", _PARAMETERS.get(parameter["name"], ""))
    for content in operation.get("requestBody", {}).get("content", {}).values():
        _exemplify(content)
    responses = operation["responses"]
    for status, response in responses.items():
        if response["description"] == "Successful Response":
            response["description"] = _STATUS[status]
        for content in response.get("content", {}).values():
            _exemplify(content)
    if path in _OPEN:
        operation["security"] = []
    else:
        _add_errors(operation, responses)
    operation["responses"] = dict(sorted(responses.items()))


def _add_errors(operation: Mapping[str, Any], responses: dict[str, Any]) -> None:
    """Those that no route names, for they come from what all have in common: the caller, and its project."""
    codes = [*_EVERYWHERE]
    if "requestBody" in operation or operation.get("parameters"):
        responses.pop("422", None) if _is_fastapis(responses.get("422")) else None
        codes.append("invalid_input")
    for status, response in errors(*codes).items():
        _merge(responses, str(status), response)


def _is_fastapis(response: Mapping[str, Any] | None) -> bool:
    return response is not None and response["description"] == "Validation Error"


def _merge(responses: dict[str, Any], status: str, response: dict[str, Any]) -> None:
    known = responses.setdefault(status, response)
    if known is response:
        return
    found = known["content"][problems.MEDIA_TYPE]["examples"]
    found |= response["content"][problems.MEDIA_TYPE]["examples"]
    known["description"] = ", ".join(f"`{code}`" for code in sorted(found))


def _exemplify(content: dict[str, Any]) -> None:
    """Give a body an example: that of its schema, if it has none, and what stands for others in its text."""
    if isinstance(content.get("example"), str):
        content["example"] = _PLACE.sub(_placed, content["example"])
    if "example" in content or "examples" in content:
        return
    example = _example(content.get("schema", {}))
    if example is not None:
        content["example"] = example


def _placed(place: re.Match[str]) -> str:
    return json.dumps(examples()[place[1]], ensure_ascii=False, separators=(",", ":"))


def _example(schema: Mapping[str, Any]) -> Any:
    """A value of a schema: of a component, or of a list or map of them."""
    known = examples()
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        page = re.fullmatch(r"Page_(\w+)_", name)
        if page:
            return {"items": [known[page[1]]], "next_cursor": None} if page[1] in known else None
        return known.get(name)
    if "anyOf" in schema:
        return next((found for each in schema["anyOf"] if (found := _example(each)) is not None), None)
    if schema.get("type") == "array":
        return None if (item := _example(schema["items"])) is None else [item]
    if isinstance(schema.get("additionalProperties"), Mapping):
        value = _example(schema["additionalProperties"])
        return None if value is None else {"vm.exec": value}
    return None


def describe() -> dict[str, Any]:
    """The description as it is served, without anything behind it."""
    # Late: the application installs this module.
    from aetherium.gateway.access import Services
    from aetherium.gateway.app import create_app

    return create_app(cast(Services, object())).openapi()


if __name__ == "__main__":
    print(json.dumps(describe(), indent=2))
