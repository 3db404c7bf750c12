"""Wait when a server asks for it, and longer each time it fails.  A Scrapy downloader middleware.

Scrapy retries an overloaded server within half a second, whatever its Retry-After says.  Here every
request to a host waits until the time that the host asked for; a wait that is too long for a run ends
the source, which is told to come back later.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final, Self

from scrapy.crawler import Crawler
from scrapy.exceptions import IgnoreRequest
from scrapy.http import Request, Response

from pipelines.identity import host_of

_SLICE: Final = 0.5  # seconds: how soon an interrupted run notices


class ComeBackLater(IgnoreRequest):
    """A server asks for more time than a run has; the message says how much."""


class Politeness:
    """Holds requests back.  Hosts in ``DOWNLOAD_SLOTS`` need no pause that they do not ask for."""

    def __init__(self, crawler: Crawler) -> None:
        settings = crawler.settings
        self._crawler = crawler
        self._longest = settings.getfloat("HARVESTER_LONGEST_WAIT")
        self._back_off = settings.getfloat("HARVESTER_BACK_OFF")
        self._retried = {int(status) for status in settings.getlist("RETRY_HTTP_CODES")}
        self._free: Iterable[str] = settings.getdict("DOWNLOAD_SLOTS")
        self._until: dict[str, float] = {}

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        return cls(crawler)

    async def process_request(self, request: Request) -> None:
        """Wait until the host may be asked again."""
        host = host_of(request.url)
        if self._is_free(host):
            request.meta["autothrottle_dont_adjust_delay"] = True
        while (rest := self._until.get(host, 0.0) - time.monotonic()) > 0:
            engine = self._crawler.engine
            if engine is None or engine._slot is None or engine._slot.closing:
                raise IgnoreRequest("interrupted while the server wanted to be left alone")
            await asyncio.sleep(min(rest, _SLICE))

    def process_response(self, request: Request, response: Response) -> Response:
        """Note when the host may be asked again."""
        if response.status in self._retried:
            host = host_of(request.url)
            asked = retry_after(response, datetime.now(UTC))
            if asked is not None and asked > self._longest:
                reason = (
                    f"HTTP {response.status}; the server asks to come back in {asked:.0f} seconds"
                )
                raise ComeBackLater(reason)
            self._wait(host, asked if asked is not None else self._pause(host, request))
        return response

    def process_exception(self, request: Request, exception: Exception) -> None:
        """A host that does not answer is left alone for a while, too."""
        if not isinstance(exception, IgnoreRequest):
            host = host_of(request.url)
            self._wait(host, self._pause(host, request))

    def _pause(self, host: str, request: Request) -> float:
        if self._is_free(host):
            return 0.0
        return float(self._back_off * 2 ** request.meta.get("retry_times", 0))

    def _wait(self, host: str, seconds: float) -> None:
        self._until[host] = max(self._until.get(host, 0.0), time.monotonic() + seconds)

    def _is_free(self, host: str) -> bool:
        return host.rpartition(":")[0] in self._free or host in self._free


def retry_after(response: Response, now: datetime) -> float | None:
    """The seconds that a server asks to be left alone; ``None`` if it does not (RFC 9110, 10.2.3)."""
    told = (response.headers.get("Retry-After") or b"").decode("latin-1").strip()
    if told.isascii() and told.isdigit():
        return float(told)
    with suppress(ValueError, TypeError):
        moment = parsedate_to_datetime(told)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return max(0.0, (moment - now).total_seconds())
    return None
