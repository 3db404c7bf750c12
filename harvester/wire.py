"""The wire: one request out, one answer in, as it came.  A Scrapy download handler on aiohttp.

Scrapy's own handler takes more processor time for a page than all that is done with it here.  This one
also decides at the moment of connecting where a name may lead (``guard``), and keeps what had come of
an answer that was too long, or ended early: its flags are Scrapy's, ``download_stopped`` and ``dataloss``.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import urldefrag, urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from scrapy.core.downloader.handlers.base import BaseDownloadHandler
from scrapy.crawler import Crawler
from scrapy.exceptions import (
    CannotResolveHostError,
    DownloadConnectionRefusedError,
    DownloadFailedError,
    DownloadTimeoutError,
    UnsupportedURLSchemeError,
)
from scrapy.http import Headers, Request, Response
from scrapy.responsetypes import responsetypes
from yarl import URL

from harvester.guard import refuse_private, typed_by_operator

_HEAD: Final = 64 * 1024  # bytes of a header line: policies are longer than aiohttp's 8 KiB
# What aiohttp would add by itself; Scrapy has set what is to be said.
_UNASKED: Final = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")


class Wire(BaseDownloadHandler):
    """Fetches http and https, through a proxy where the request names one."""

    def __init__(self, crawler: Crawler) -> None:
        super().__init__(crawler)
        settings = crawler.settings
        self._largest = settings.getint("DOWNLOAD_MAXSIZE")
        self._verified = settings.getbool("DOWNLOAD_VERIFY_CERTIFICATES")
        self._bound: Any = settings.get("DOWNLOAD_BIND_ADDRESS")
        self._resolver = _Resolver(crawler)
        self._session: aiohttp.ClientSession | None = None

    async def download_request(self, request: Request) -> Response:
        """The answer to a request.  Raises Scrapy's download errors, and ``guard.Refused``."""
        timeout = float(request.meta.get("download_timeout", 0)) or None
        began = time.monotonic()
        try:
            answer = await self._asked(request, timeout)
            async with answer:
                request.meta["download_latency"] = time.monotonic() - began
                return await self._read(request, answer)
        except TimeoutError as error:
            told = f"getting {request.url} took longer than {timeout:g} seconds"
            raise DownloadTimeoutError(told) from error
        except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError) as error:
            raise UnsupportedURLSchemeError(f"not an address: {error}") from error
        except aiohttp.ClientConnectorDNSError as error:
            raise CannotResolveHostError(str(error)) from error
        except aiohttp.ClientConnectorCertificateError as error:
            raise DownloadFailedError(f"its certificate: {error.certificate_error}") from error
        except aiohttp.ClientConnectorError as error:
            raise DownloadConnectionRefusedError(str(error)) from error
        except (aiohttp.ClientError, OSError) as error:
            raise DownloadFailedError(str(error) or type(error).__name__) from error

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()

    # -------------------------------------------------------------- inside
    async def _asked(self, request: Request, timeout: float | None) -> _Answer:
        headers = request.headers.copy()
        secret = headers.pop(b"Proxy-Authorization", None)
        proxy: str | None = request.meta.get("proxy")
        if proxy is not None:
            proxy = proxy if "://" in proxy else f"http://{proxy}"
            self._resolver.trusted.add(urlsplit(proxy).hostname)
        answer = await self._opened().request(
            request.method,
            URL(request.url, encoded=True),
            data=request.body or None,
            headers=headers.to_tuple_list(),
            timeout=aiohttp.ClientTimeout(total=timeout),
            ssl=self._verified,
            allow_redirects=False,
            proxy=proxy,
            proxy_headers={"Proxy-Authorization": secret[0].decode("latin-1")} if secret else None,
        )
        assert isinstance(answer, _Answer)
        return answer

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            bound = self._bound if isinstance(self._bound, tuple | None) else (self._bound, 0)
            # How many connections there may be is the downloader's to say.
            connector = aiohttp.TCPConnector(
                limit=0, resolver=self._resolver, local_addr=bound, happy_eyeballs_delay=None
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                response_class=_Answer,
                skip_auto_headers=_UNASKED,
                max_line_size=_HEAD,
                max_field_size=_HEAD,
            )
        return self._session

    async def _read(self, request: Request, answer: _Answer) -> Response:
        limit = int(request.meta.get("download_maxsize", self._largest)) or None
        body = bytearray()
        flags: list[str] = []
        if limit and (answer.content_length or 0) > limit:  # then it is not fetched at all
            flags = ["download_stopped"]
        else:
            try:
                async for piece in answer.content.iter_any():
                    body += piece
                    if limit and len(body) > limit:
                        flags = ["download_stopped"]
                        break
            except (aiohttp.ClientError, ConnectionError):
                flags = ["dataloss"]
        headers = Headers()
        for name, value in answer.raw_headers:
            headers.appendlist(name, value)
        version = answer.version
        kind = responsetypes.from_args(headers=headers, url=request.url, body=bytes(body[:5000]))
        return kind(
            url=urldefrag(request.url).url,
            status=answer.status,
            headers=headers,
            body=bytes(body),
            flags=flags,
            request=request,
            ip_address=answer.address,
            protocol=f"HTTP/{version.major}.{version.minor}" if version else "HTTP/1.1",
        )


class _Answer(aiohttp.ClientResponse):
    """An answer that remembers from which address it came, when its connection is long free again."""

    address: Any = None

    async def start(self, connection: Any) -> aiohttp.ClientResponse:
        """Wait for the head of the answer."""
        with suppress(TypeError, ValueError, AttributeError):
            self.address = ip_address(connection.transport.get_extra_info("peername")[0])
        return await super().start(connection)


class _Resolver(AbstractResolver):
    """The addresses of a name, none of which may lead where a page must not send us."""

    def __init__(self, crawler: Crawler) -> None:
        self._crawler = crawler
        self._system: aiohttp.ThreadedResolver | None = None
        self.trusted: set[str | None] = set()  # proxies

    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[ResolveResult]:
        """As the system says.  Raises ``guard.Refused``."""
        if self._system is None:
            self._system = aiohttp.ThreadedResolver(asyncio.get_running_loop())
        found = await self._system.resolve(host, port, family)
        if host not in self.trusted:
            typed = typed_by_operator(self._crawler.spider)
            refuse_private(
                host, port, [ip_address(each["host"].partition("%")[0]) for each in found], typed
            )
        return found

    async def close(self) -> None:
        """Nothing is held."""
