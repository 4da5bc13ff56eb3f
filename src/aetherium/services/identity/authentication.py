"""From what a request carries to a Caller."""

from __future__ import annotations

import hashlib
import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace

from aetherium.domain.audit import AuditEvent
from aetherium.domain.errors import (
    AetheriumError,
    Forbidden,
    InvalidInput,
    NotFound,
    RateLimited,
    Unauthenticated,
)
from aetherium.domain.identity import LOCAL, APIKey, Caller, Role
from aetherium.domain.rates import Rate
from aetherium.interfaces.audit import Auditor
from aetherium.interfaces.identity_store import Membership
from aetherium.interfaces.rates import RateLimiter
from aetherium.interfaces.store import Store
from aetherium.services.identity.keys import MARK, KeyService, prefix_of
from aetherium.services.identity.tokens import Person, TokenVerifier

PROJECT_HEADER = "Aetherium-Project"
_SCHEME = "bearer"
# Failures from one address; more are refused unseen, for whatever tries so often is guessing.
FAILURES = Rate(20, 60)
# Of failures from one address one is recorded in so many seconds, and of so many addresses at once.
_RECORD_S = 10.0
_MOST_RECORDED = 500
_MOST_KNOWN = 10_000
_HINT = "Give an API key or a token: Authorization: Bearer …"


class Authenticator:
    """Knows callers.

    Args:
        tokens: None: there are API keys only.
        now: seconds that pass.
    """

    def __init__(
        self,
        store: Store,
        keys: KeyService,
        tokens: TokenVerifier | None,
        auditor: Auditor,
        rates: RateLimiter,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._keys = keys
        self._tokens = tokens
        self._rates = rates
        self._record = _Record(auditor, now)
        self._known = _Known()

    async def local(self, project: str, request_id: str) -> Caller:
        """Whoever may open the Unix socket. Raises NotFound for the project."""
        caller = replace(LOCAL, request_id=request_id)
        return caller.within(await self._any_project(project)) if project else caller

    async def caller(self, authorization: str, project: str, address: str, request_id: str) -> Caller:
        """Who this is, in the project that is meant.

        Args:
            authorization: the header's value.
            project: id or name; empty: the only one that it can be.
            address: of the client; empty: this host's Unix socket.

        Raises Unauthenticated, RateLimited (too many failures), Forbidden, InvalidInput (which project?) and
        NotFound: no such project, or none of the caller's.
        """
        source = network(address)
        credential = _bearer(authorization)
        try:
            await self._refuse_guessing(source, credential)
            caller = await self._recognised(credential, project)
        except (Unauthenticated, Forbidden, NotFound, RateLimited) as error:
            if isinstance(error, Unauthenticated) and source and credential:
                await self._rates.hit(FAILURES, f"failures:{source}")
            self._record.failure(error, source, address, request_id, prefix_of(credential))
            raise
        self._known.note(source, credential)
        return replace(caller, address=address, request_id=request_id)

    async def _refuse_guessing(self, source: str, credential: str) -> None:
        """Raises RateLimited. Nothing is no guess, nor is what was good before from there: a client with an
        old key must not shut out others that share its address."""
        if not source or not credential or self._known.has(source, credential):
            return
        window = await self._rates.look(FAILURES, f"failures:{source}")
        if not window.allowed:
            raise RateLimited(
                f"There were too many failed attempts from {source}.",
                hint="Correct the API key or token, and wait.",
                retry_after_s=math.ceil(window.reset_s),
            )

    async def _recognised(self, credential: str, project: str) -> Caller:
        if credential.startswith(MARK):
            key = await self._keys.verify(credential)
            if key is not None:
                return await self._with_key(key, project)
        elif credential.count(".") == 2 and self._tokens is not None:
            return await self._person(await self._tokens.verify(credential), project)
        raise Unauthenticated("There are no valid credentials.", hint=_HINT)

    async def _with_key(self, key: APIKey, project: str) -> Caller:
        subject = f"key:{key.id}"
        if key.project_id is None:
            within = await self._any_project(project) if project else None
            return Caller(subject, key.role, installation=True, project_id=within, scopes=key.scopes)
        if project and project != key.project_id:
            named = await self._store.of_project(key.project_id).projects.list()
            if project not in [each.name for each in named]:
                raise _no_project(project)
        return Caller(subject, key.role, project_id=key.project_id, scopes=key.scopes)

    async def _person(self, person: Person, project: str) -> Caller:
        if person.admin:
            within = await self._any_project(project) if project else None
            return Caller(person.subject, Role.ADMIN, installation=True, project_id=within)
        member = _chosen(await self._store.members.of(person.subject), person, project).member
        return Caller(person.subject, member.role, project_id=member.project_id)

    async def _any_project(self, ref: str) -> str:
        for project in await self._store.projects.list():
            if ref in (project.id, project.name):
                return project.id
        raise _no_project(ref)


def network(address: str) -> str:
    """The address, or the network of an IPv6 address, which one host has 2^64 of."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found, 64), strict=False))


class _Known:
    """What was good before, by where it came from."""

    def __init__(self) -> None:
        self._seen: OrderedDict[bytes, None] = OrderedDict()

    def has(self, source: str, credential: str) -> bool:
        return self._mark(source, credential) in self._seen

    def note(self, source: str, credential: str) -> None:
        self._seen[self._mark(source, credential)] = None
        if len(self._seen) > _MOST_KNOWN:
            self._seen.popitem(last=False)

    def _mark(self, source: str, credential: str) -> bytes:
        return hashlib.sha256(f"{source} {credential}".encode()).digest()


class _Record:
    """Failures for the audit log, few enough that nobody can fill the disk with them."""

    def __init__(self, auditor: Auditor, now: Callable[[], float]) -> None:
        self._auditor = auditor
        self._now = now
        self._recorded: OrderedDict[str, float] = OrderedDict()

    def failure(
        self, error: AetheriumError, source: str, address: str, request_id: str, resource: str
    ) -> None:
        now = self._now()
        while self._recorded and next(iter(self._recorded.values())) <= now - _RECORD_S:
            self._recorded.popitem(last=False)
        if source in self._recorded or len(self._recorded) >= _MOST_RECORDED:
            return
        self._recorded[source] = now
        self._auditor.note(
            AuditEvent(
                actor="",
                action="auth.failure",
                resource=resource,
                outcome=error.code,
                address=address,
                request_id=request_id,
            )
        )


def _bearer(authorization: str) -> str:
    scheme, _, credential = authorization.strip().partition(" ")
    return credential.strip() if scheme.lower() == _SCHEME else ""


def _chosen(memberships: Sequence[Membership], person: Person, project: str) -> Membership:
    """The membership that is meant. Raises NotFound, Forbidden, InvalidInput."""
    if project:
        for each in memberships:
            if project in (each.member.project_id, each.project):
                return each
        raise _no_project(project)
    if not memberships:
        raise Forbidden(
            f"{person.subject} is a member of no project.",
            hint="Ask an administrator: aetherium member add",
            permission="",
        )
    if len(memberships) > 1:
        names = [each.project for each in memberships]
        raise InvalidInput(
            f"You are a member of several projects: {', '.join(names)}.",
            hint=f"Say which one is meant, with --project or the header {PROJECT_HEADER}.",
            field=PROJECT_HEADER,
            projects=names,
        )
    return memberships[0]


def _no_project(ref: str) -> NotFound:
    return NotFound("project", ref, hint="Is it spelt so, and are you a member of it?")
