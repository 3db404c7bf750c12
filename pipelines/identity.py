"""Which entry is this?  Canonical addresses, address keys, fingerprints and entry ids.

An entry is known by its address, or, where an address does not identify it, by what it says.  Ids
and keys carry a version: a change to any rule here must raise ``VERSION`` and bring a migration,
because an ``entry_id`` once given out never changes.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from hashlib import blake2b
from typing import Final
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit

from w3lib.url import safe_url_string

from pipelines.entry import Entry, Record

VERSION: Final = "e1"

# Parameters that say who follows a link or in which session, never which page it leads to.
_TRACKING: Final = re.compile(
    r"utm_\w+|fbclid|gclid|gclsrc|dclid|gbraid|wbraid|msclkid|yclid|ysclid|twclid|ttclid|igshid|igsh"
    r"|mc_[ce]id|_ga|_gl|_hsenc|_hsmi|mkt_tok|cmpid|ref_src|ns_(?:mchannel|source|campaign|linkname)"
    r"|at_(?:medium|campaign|custom\d|link_\w+)|phpsessid|jsessionid|aspsessionid\w*|cfid|cftoken",
    re.IGNORECASE,
)
_PATH_SESSION: Final = re.compile(r";jsessionid=[^/?#]*", re.IGNORECASE)
_INDEX_PAGE: Final = re.compile(r"/(?:index|default)\.(?:html?|php|aspx?)$", re.IGNORECASE)
_RESERVED: Final = re.compile(r"%(2[35F]|3F)", re.IGNORECASE)
_SLASHES: Final = re.compile(r"//+")
_NUMBER: Final = re.compile(r"\d+")
_PLAIN: Final = re.compile(
    r"https?://[a-z0-9.-]*[a-z0-9](?::(?!0|80/|443/)(?:\d{1,4}|[1-5]\d{4}|6[0-4]\d{3}))?/[\w!$&'()*+,:=@%/.~-]*",
    re.ASCII,
)
_DEFAULT_PORT: Final = {"http": 80, "https": 443}


def canonical_url(url: str) -> str | None:
    """One spelling of an absolute http(s) address that still leads to the page; ``None`` for others.

    Host in lower case without trailing dot or default port, dot segments resolved, no tracking or
    session parameters, no fragment (but ``#!`` and ``#/``, which name pages).
    """
    if _PLAIN.fullmatch(url) and "/." not in url:
        return url
    try:
        parts = urlsplit(safe_url_string(url.strip()))
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    scheme = parts.scheme.lower()
    if scheme not in _DEFAULT_PORT or not host:
        return None
    host = host.rstrip(".").lower()
    netloc = f"[{host}]" if ":" in host else host
    if port is not None and port != _DEFAULT_PORT[scheme]:
        netloc += f":{port}"
    path = _PATH_SESSION.sub("", parts.path) or "/"
    if "/." in path:
        # Relative, for "//x" would name a host.
        path = urlsplit(urljoin(f"{scheme}://{netloc}/", f".{path}")).path or "/"
    query = "&".join(
        pair
        for pair in parts.query.split("&")
        if pair and not _TRACKING.fullmatch(pair.partition("=")[0])
    )
    fragment = parts.fragment if parts.fragment.startswith(("!", "/")) else ""
    return urlunsplit((scheme, netloc, path, query, fragment))


@lru_cache(maxsize=4096)
def is_tracking(name: str) -> bool:
    """Whether a parameter of an address only says where its reader came from."""
    return _TRACKING.fullmatch(name) is not None


def host_of(url: str) -> str:
    """The host of an address, with its port, without ``www.``; empty when there is none."""
    try:
        netloc = urlsplit(url).netloc
    except ValueError:
        return ""
    return netloc.rpartition("@")[2].lower().removeprefix("www.")


def address_key(url: str, own_hosts: frozenset[str]) -> str:
    """What of a canonical address identifies a page: path and query, and the host if it is foreign.

    The source's own hosts do not count, so a mirror, ``www`` or ``https`` make no new entry.
    """
    host, key = _host_and_key(url)
    return key if host in own_hosts else host + key


def path_key(url: str) -> str:
    """The address key of a canonical address on a host of the source, whichever that is."""
    return _host_and_key(url)[1]


@lru_cache(maxsize=8192)  # an entry is asked about several times in a run, and again in the next
def _host_and_key(url: str) -> tuple[str, str]:
    # A canonical address is well-formed, so that splitting it needs no parser.
    rest, _, fragment = url.partition("://")[2].partition("#")
    rest, _, query = rest.partition("?")
    host, _, path = rest.partition("/")
    # A quoted slash or question mark is part of a name, not of the address's structure.
    path = unquote(_RESERVED.sub(r"%25\1", path))
    key = _INDEX_PAGE.sub("/", _SLASHES.sub("/", f"/{path}")).rstrip("/") or "/"
    if not key.isascii():
        key = unicodedata.normalize("NFC", key)
    if query:
        key += "?" + "&".join(sorted(query.split("&")))
    return host.removeprefix("www."), f"{key}#{fragment}" if fragment else key


def form_of(url: str) -> str:
    """An address without what differs between the pages of one listing."""
    plain = url.partition("#")[0].rstrip("/").partition("://")[2]
    return _NUMBER.sub("#", plain.removeprefix("www."))


def leads_inward(url: str, page_url: str) -> bool:
    """Whether an address can belong to one entry: not the listing page itself, nor a front above it."""
    here, there = _bare(_page(page_url)), _bare(url)
    return not (here.startswith(there) and here[len(there) :][:1] in ("", "/", "?", "#"))


@lru_cache(maxsize=256)
def _page(url: str) -> str:
    return canonical_url(url) or url


def _bare(url: str) -> str:
    return url.partition("://")[2].removeprefix("www.").rstrip("/")


def fingerprint(entry: Entry | Record) -> str | None:
    """What an entry says, as a digest of title, teaser and date; ``None`` when it says nothing."""
    if entry.title is None and entry.teaser is None:
        return None
    published = entry.published.isoformat() if entry.published else ""
    return _digest(entry.title or "", entry.teaser or "", published)


def tells_apart(entry: Entry | Record) -> bool:
    """Whether a fingerprint alone may merge two addresses: a title that many items share may not."""
    return (entry.title is not None) + (entry.teaser is not None) + (
        entry.published is not None
    ) > 1


def entry_id(source: str, basis: str) -> str:
    """The id of an entry first known by ``basis``, an address key or a fingerprint."""
    return f"{VERSION}-{_digest(source, basis)}"


def _digest(*parts: str) -> str:
    return blake2b("\0".join(parts).encode(), digest_size=12).hexdigest()
