"""``/docs``: the API's description for people, in Swagger UI, which comes with a package: it works without
the internet, and loads nothing from anywhere else."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path

from fastapi import APIRouter
from starlette.responses import FileResponse, HTMLResponse, Response

from aetherium.domain.errors import NotFound

router = APIRouter(include_in_schema=False)

_ASSETS = ("swagger-ui-bundle.js", "swagger-ui.css", "favicon.png")
_HEADERS = {
    # Its icons are data.
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
        " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Aetherium API</title>
<link rel="icon" href="docs/assets/favicon.png">
<link rel="stylesheet" href="docs/assets/swagger-ui.css">
<script src="docs/assets/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</head>
<body><div id="api"></div></body>
</html>
"""
_START = """"use strict";
window.addEventListener("DOMContentLoaded", () => {
  SwaggerUIBundle({
    url: "openapi.json",
    dom_id: "#api",
    deepLinking: true,
    filter: true,
    docExpansion: "list",
    defaultModelsExpandDepth: 0,
    validatorUrl: null, // it would send the description to a service
  });
});
"""


@router.get("/docs")
async def page() -> Response:
    """The page."""
    return HTMLResponse(_PAGE, headers=_HEADERS)


@router.get("/docs/start.js")
async def start() -> Response:
    """The script that begins it: none stands in the page, which its policy would not run."""
    return Response(_START, media_type="text/javascript", headers=_HEADERS)


@router.get("/docs/assets/{name}")
async def asset(name: str) -> Response:
    """A file of Swagger UI."""
    if name not in _ASSETS:
        raise NotFound("file", name, hint="GET /docs")
    return FileResponse(_directory() / name, headers=_HEADERS)


@cache
def _directory() -> Path:
    """The files of the package, which itself is not imported: it has a way of its own to serve them."""
    spec = find_spec("fastapi_offline")
    if spec is None or spec.origin is None:
        raise NotFound("package", "fastapi-offline", hint="Install it: pip install fastapi-offline")
    return Path(spec.origin).parent / "static"
