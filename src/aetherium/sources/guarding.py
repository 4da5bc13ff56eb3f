"""Where a host fetches repositories from for people who are not on it.

They name an address, and this host connects to it from inside its network. So the address has to be one of
the internet, or in a network that the installation names. What was resolved and found good is what git
connects to: a name that is resolved anew, and a redirect, could lead elsewhere.

A proxy in the environment connects in place of this host, and decides for itself.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.request import proxy_bypass

from aetherium.domain.errors import InvalidInput, SourceFailed

Address = IPv4Address | IPv6Address
# (host, port) → its addresses as text. Raises OSError.
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]

_PORTS = {"https": 443, "http": 80, "git": 9418}
_URL = re.compile(
    r"(?P<scheme>https|http|git)://"
    r"(?P<host>[a-z0-9]([a-z0-9._-]*[a-z0-9])?|\[[0-9a-f:.]+\])(:(?P<port>[0-9]{1,5}))?(?P<path>/[^?#\\]*)?",
    re.IGNORECASE,
)
# IPv4 over IPv6, RFC 6052.
_NAT64 = IPv6Network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class Route:
    """How git gets to a repository.

    Args:
        url: the address to give it.
        options: that keep it there.
    """

    url: str
    options: tuple[str, ...] = ()


async def resolved(host: str, port: int) -> Sequence[str]:
    """By the resolver of this host."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


async def guarded(url: str, networks: Sequence[str], resolve: Resolve = resolved) -> Route:
    """The way to `url` that leads nowhere else.

    Args:
        networks: in CIDR notation, beside the internet.

    Raises InvalidInput for an address of another form, SourceFailed for one that may not be used.
    """
    match = _URL.fullmatch(url)
    if match is None:
        raise InvalidInput(
            f"The repository {url!r} cannot be fetched by this host for others.",
            hint="Give an address of the form https://HOST/PATH.",
            field="git",
        )
    scheme, host = match["scheme"].lower(), match["host"].lower()
    port = int(match["port"] or _PORTS[scheme])
    if _goes_through_a_proxy(scheme, host):
        return Route(url, ("-c", "http.followRedirects=false"))
    good = await _allowed(url, host.strip("[]"), port, [ip_network(each) for each in networks], resolve)
    if scheme == "git":
        return Route(f"git://{_shown(good[0])}:{port}{match['path'] or ''}")
    pin = f"{host.strip('[]')}:{port}:{','.join(map(_shown, good))}"
    return Route(url, ("-c", f"http.curloptResolve={pin}", "-c", "http.followRedirects=false"))


def _goes_through_a_proxy(scheme: str, host: str) -> bool:
    names = {"https": ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"), "http": ("http_proxy",)}
    given = any(os.environ.get(name) for name in names.get(scheme, ()))
    return given and not proxy_bypass(host)


async def _allowed(
    url: str, host: str, port: int, networks: Sequence[IPv4Network | IPv6Network], resolve: Resolve
) -> Sequence[Address]:
    try:
        found = [ip_address(address.partition("%")[0]) for address in await resolve(host, port)]
    except (OSError, ValueError) as error:
        raise SourceFailed(
            f"The repository {url} cannot be fetched: {host} has no address ({error}).",
            hint="Check the address.",
            url=url,
        ) from error
    good = [address for address in found if _is_allowed(address, networks)]
    if not good:
        raise SourceFailed(
            f"The repository {url} is not fetched: {host} is at {', '.join(map(str, found))}, which is no"
            " address of the internet.",
            hint="Whoever runs this installation can allow its network: the setting git_networks.",
            url=url,
        )
    return good


def _is_allowed(address: Address, networks: Sequence[IPv4Network | IPv6Network]) -> bool:
    for each in (address, _inside(address)):
        listed = any(each in network for network in networks)
        if not listed and (not each.is_global or each.is_multicast):
            return False
    return True


def _inside(address: Address) -> Address:
    """The IPv4 address that an IPv6 address leads to."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _shown(address: Address) -> str:
    return f"[{address}]" if isinstance(address, IPv6Address) else str(address)
