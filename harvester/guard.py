"""No request leaves for where a page must not send us.  A Scrapy downloader middleware.

A listing, a redirect or a name server could point the crawler at the machine it runs on, at its
neighbours, or at a cloud's metadata.  Every request, each hop of a redirect too, is checked here: only
http and https, and only addresses of the public internet, unless the operator typed the host.
"""

from __future__ import annotations

import socket
import unicodedata
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any, Final, Self
from urllib.parse import SplitResult, urlsplit

from scrapy.crawler import Crawler
from scrapy.exceptions import IgnoreRequest
from scrapy.http import Request

_NAT64: Final = ip_network("64:ff9b::/96")
_PORTS: Final = {"http": 80, "https": 443}

Place = tuple[str, int | None]  # host and port


class Refused(IgnoreRequest):
    """A request that must not be made; the message says why."""


class Guard:
    """Refuses requests to private networks, but to hosts that stand in a spider's start addresses."""

    def __init__(self, crawler: Crawler) -> None:
        self._crawler = crawler
        self._typed: frozenset[Place] | None = None

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        return cls(crawler)

    def process_request(self, request: Request) -> None:
        """Let a request pass, or raise ``Refused``.  Where a name leads is seen when it is connected to."""
        parts = urlsplit(request.url)
        if parts.scheme not in _PORTS:
            raise Refused(f"refused: {parts.scheme} is neither http nor https")
        if self._typed is None:
            self._typed = typed_by_operator(self._crawler.spider)
        if found := literal(host := _host(parts)):
            refuse_private(host, _port(parts), [found], self._typed)


def refuse_private(
    host: str,
    port: int | None,
    addresses: Iterable[IPv4Address | IPv6Address],
    typed: AbstractSet[Place],
) -> None:
    """Raise ``Refused`` where a host leads to no address of the internet, and the operator has not typed it.

    Without anything ``typed`` nobody's page has named the host: a fetch by hand.
    """
    if not typed or _is_typed(host, port, typed):
        return
    for address in addresses:
        if not is_public(address):
            raise Refused(f"refused: {host} is {address}, which is no address of the internet")


def typed_by_operator(spider: Any) -> frozenset[Place]:
    """The hosts and ports that a person gave: on the command line, or in the source's file."""
    scope = getattr(spider, "scope", None)
    urls = {
        *getattr(spider, "start_urls", ()),
        *getattr(type(spider), "start_urls", ()),
        *getattr(scope, "start_urls", ()),
    }
    return frozenset((_host(parts), _port(parts)) for parts in map(urlsplit, urls))


def literal(host: str) -> IPv4Address | IPv6Address | None:
    """The address that a host is, in any spelling that systems take for one: 127.1, 0x7f000001 ..."""
    try:
        return ip_address(host.partition("%")[0])
    except ValueError:
        pass
    try:
        return IPv4Address(socket.inet_aton(host))
    except (OSError, UnicodeError):
        return None


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether an address is one of the public internet, also by what it holds of another address."""
    inner: list[IPv4Address | None] = []
    if isinstance(address, IPv6Address):
        inner = [address.ipv4_mapped, address.sixtofour]
        if address in _NAT64:
            inner.append(IPv4Address(int(address) & 0xFFFFFFFF))
        if address.teredo:
            inner += address.teredo
    held = [each for each in inner if each is not None]
    if held:
        return all(map(is_public, held))
    return address.is_global and not address.is_multicast


def _is_typed(host: str, port: int | None, typed: AbstractSet[Place]) -> bool:
    """Whether the operator typed this host, with this port or a usual one."""
    if port in _PORTS.values():
        return any(host == name for name, _ in typed)
    return (host, port) in typed


def _host(parts: SplitResult) -> str:
    host = unicodedata.normalize("NFKC", parts.hostname or "")
    return host.lower().rstrip(".")


def _port(parts: SplitResult) -> int | None:
    try:
        return parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return None
