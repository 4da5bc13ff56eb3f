"""Where a gateway is, and what it is told of who calls."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from urllib.parse import urlsplit

import httpx2

from aetherium.domain.errors import ChannelClosed, InvalidInput, ProtocolViolation, Unavailable

# Long calls wait for as long as they take: the gateway bounds them.
_TIMEOUT = httpx2.Timeout(None, connect=10.0)
_LIMITS = httpx2.Limits(max_connections=None, max_keepalive_connections=32)


@dataclass(frozen=True)
class Gateway:
    """One that is reached over a Unix socket, or over HTTP at a URL.

    Args:
        api_key: or a token of an identity provider.
        project: id or name; empty: the only one that it can be.
        ca: file with an authority that certifies it, beside those that the host trusts.

    Raises InvalidInput for a URL that is none.
    """

    socket: Path | None = None
    url: str = "http://aetherium"
    api_key: str = field(default="", repr=False)
    project: str = ""
    ca: Path | None = None

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise InvalidInput(
                f"{self.url!r} is no address of a gateway.",
                hint="Write https://HOST, or http://127.0.0.1:7777 on its own host.",
                field="url",
            )

    @property
    def local(self) -> bool:
        """Whether it sees the files of this host."""
        return self.socket is not None

    @property
    def name(self) -> str:
        """For people."""
        return self.url if self.socket is None else str(self.socket)

    @property
    def headers(self) -> Mapping[str, str]:
        """Of every request."""
        found = {"authorization": f"Bearer {self.api_key}"} if self.api_key else {}
        return found | ({"aetherium-project": self.project} if self.project else {})

    @property
    def websocket_url(self) -> str:
        """Where WebSockets begin."""
        return f"ws{self.url.removeprefix('http').rstrip('/')}"

    @cached_property
    def tls(self) -> ssl.SSLContext | None:
        """None for what is not encrypted. Raises InvalidInput for an authority that cannot be read."""
        if not self.url.startswith("https:"):
            return None
        context = ssl.create_default_context()
        if self.ca is not None:
            try:
                context.load_verify_locations(self.ca)
            except (OSError, ssl.SSLError) as error:
                raise InvalidInput(
                    f"The authority {self.ca} cannot be used: {error}.", field="tls_ca"
                ) from error
        return context

    def connect(self) -> httpx2.AsyncClient:
        """A pool of connections to it."""
        transport = httpx2.AsyncHTTPTransport(
            uds=None if self.socket is None else str(self.socket), limits=_LIMITS, verify=self.tls or False
        )
        return httpx2.AsyncClient(
            transport=transport, base_url=self.url, headers=dict(self.headers), timeout=_TIMEOUT
        )

    def silent(self, error: BaseException) -> Unavailable | ProtocolViolation:
        """For a connection that could not be made."""
        refused = _cause(error, ssl.SSLError)
        if refused is not None:
            return ProtocolViolation(
                f"There is no trusted TLS connection to {self.name}: {_reason(refused)}.",
                hint="If its certificate is of an authority of your own, name that in tls_ca.",
            )
        where = "it" if self.socket is not None else "it there"
        return Unavailable(f"Nothing listens at {self.name}.", hint=f"Start {where} with `aetherium up`.")

    @contextmanager
    def translating(self) -> Iterator[None]:
        """Turn the errors of HTTP into ours."""
        try:
            yield
        except httpx2.ConnectError as error:
            # A certificate does not get better by another try, which a refused connection might.
            raise self.silent(error) from _cause(error, ssl.SSLError) or error
        except (httpx2.RemoteProtocolError, httpx2.ReadError, httpx2.WriteError) as error:
            raise ChannelClosed(
                f"The connection to {self.name} was cut.", hint="Does `aetherium up` still run?"
            ) from error
        except httpx2.TimeoutException as error:
            raise Unavailable(f"{self.name} does not answer in time.") from error
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise ProtocolViolation(f"The request to {self.name} failed: {error}.") from error


def _cause(error: BaseException | None, kind: type[ssl.SSLError]) -> ssl.SSLError | None:
    while error is not None and not isinstance(error, kind):
        error = error.__cause__ or error.__context__
    return error


def _reason(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return str(error.verify_message)
    return str(error.reason or error).lower().replace("_", " ")
