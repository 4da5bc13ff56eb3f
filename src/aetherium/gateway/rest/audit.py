"""``/v1/audit``: who did what; the log as a whole; whether it is as it was written."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Annotated, Any

from fastapi import Query
from starlette.responses import JSONResponse, Response

from aetherium.domain.audit import AuditEntry, AuditVerification
from aetherium.gateway import wire
from aetherium.gateway.describing import lines
from aetherium.gateway.examples import AUDIT_LINES
from aetherium.gateway.platform import DrainDep, PlatformDep
from aetherium.gateway.rest import answers, bodies
from aetherium.gateway.rest.part import Part
from aetherium.gateway.streams import awaited, ndjson
from aetherium.interfaces.audit import AuditFilter

router = Part(prefix="/audit", tags=["audit"])

Known = Annotated[str, Query(pattern="^[0-9]{1,18}:[0-9a-f]{64}$")]


@router.get("", response_model=answers.Page[AuditEntry])
async def index(
    platform: PlatformDep,
    actor: Annotated[str | None, Query(description="Only what this subject did.")] = None,
    action: Annotated[str | None, Query(description="Only this action; `vm.*`: all that begin so.")] = None,
    resource: Annotated[str | None, Query(description="Only what was done to this.")] = None,
    outcome: Annotated[str | None, Query(description="Only what ended so: `ok`, or an error's code.")] = None,
    project: Annotated[str | None, Query(description="Only what concerns this project.")] = None,
    since: Annotated[datetime | None, Query(description="Not before this.")] = None,
    until: Annotated[datetime | None, Query(description="Before this.")] = None,
    limit: bodies.Limit = 100,
    cursor: Annotated[
        int | None, Query(ge=0, lt=1 << 63, description="`next_cursor` of the page before.")
    ] = None,
) -> Response:
    """Entries, newest first."""
    where: dict[str, Any] = {
        "actor": actor,
        "action": action,
        "resource": resource,
        "outcome": outcome,
        "project_id": None if project is None else await platform.projects.id_of(project),
        "since": since if since is None else since.astimezone(),
        "until": until if until is None else until.astimezone(),
    }
    given = AuditFilter(**{name: value for name, value in where.items() if value is not None})  # type: ignore[typeddict-item]
    found = await platform.audit.list(limit=limit + 1, before=cursor, **given)
    shown = found[:limit]
    return JSONResponse(
        {
            "items": wire.dump(list(shown)),
            "next_cursor": str(shown[-1].seq) if len(found) > limit else None,
        }
    )


@router.get("/export", response_class=Response, responses=lines(*AUDIT_LINES))
async def export(platform: PlatformDep, drain: DrainDep) -> Response:
    """The whole log as lines: how it was signed, `entry` and `checkpoint`, and as the last line the `head`.
    It can be verified without the platform. Of a project its entries only."""

    @asynccontextmanager
    async def source() -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        async with platform.audit.export() as found:
            yield found

    return ndjson(source, drain)


@router.get("/verify", response_model=AuditVerification)
async def verify(
    platform: PlatformDep,
    drain: DrainDep,
    known: Annotated[
        list[Known] | None,
        Query(
            max_length=100,
            description="`SEQ:HASH` of an entry as it was at some earlier time: it has to be so still.",
        ),
    ] = None,
) -> Response:
    """Look at all entries, hashes and signatures. The answer comes when it is done, without findings if all
    is as it was written."""
    pairs = (each.split(":") for each in known or ())
    wanted = {int(seq): hash_ for seq, hash_ in pairs}

    async def looked() -> bytes:
        return wire.dump_json(await platform.audit.verify(wanted))

    return awaited(looked, drain)


@router.get("/key", response_model=answers.AuditKey)
async def key(platform: PlatformDep) -> Response:
    """The public key (Ed25519) that the log's signatures are verified with."""
    return JSONResponse({"key": await platform.audit.key()})
