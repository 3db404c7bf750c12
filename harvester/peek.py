"""Look at one page: fetch it politely or open it from disk, and read it as a source would."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import takewhile
from pathlib import Path
from typing import Any, Final

import scrapy
from scrapy.crawler import CrawlerProcess
from scrapy.http import Response
from scrapy.settings import Settings
from twisted.python.failure import Failure as TwistedFailure

from harvester.page import Page
from harvester.parsers.explanation import explain
from harvester.parsers.listing import Listing, read
from harvester.parsers.tree import Unreadable
from harvester.spider import ListingSpider
from pipelines.identity import host_of

_FOR_GOOD: Final = frozenset((301, 308))


class PeekError(Exception):
    """The page cannot be had; the message says why."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A page, and the address to ask for it from now on.

    That is the one asked for, or where it has moved for good (301, 308).  A temporary redirect is
    followed but not learned: "/latest", which leads to this month's page, leads elsewhere next month.
    """

    page: Page
    address: str


def is_address(target: str) -> bool:
    """Whether this is something to fetch, and not a file."""
    return target.lower().startswith(("http://", "https://"))


def get(target: str, url: str | None, settings: Settings) -> Page:
    """The page at an address, or in a file.  Raises ``PeekError``."""
    if not target.lower().startswith(("http://", "https://")):
        try:
            return Page(url or Path(target).absolute().as_uri(), Path(target).read_bytes())
        except OSError as error:
            raise PeekError(
                f"{target}: {error.strerror}; give a file or an http address"
            ) from error
    return fetch(target, settings).page


def fetch(url: str, settings: Settings) -> Fetched:
    """The page at an address, fetched as a crawl would.  Raises ``PeekError``."""
    process = CrawlerProcess(settings)
    crawler = process.create_crawler(_OnePage)
    process.crawl(crawler, url=url)
    process.start()
    spider: Any = crawler.spider
    if spider.fetched is None:
        raise PeekError(f"{url}: {spider.trouble or 'no answer'}")
    fetched: Fetched = spider.fetched
    return fetched


def read_as(
    page: Page,
    sources: Mapping[str, type[ListingSpider]],
    name: str | None,
    hint: Mapping[str, Any] | None = None,
    *,
    learned: bool = False,
) -> Listing:
    """Read a page as the named source does, or the one whose site it is on, or by learning.

    With a ``hint``, or with ``learned``, no source's pattern is used.
    """
    for source, cls in sources.items():
        own = {host_of(url) for url in cls.start_urls}
        if (source == name or (name is None and host_of(page.url) in own)) and not hint:
            return read(page, language=cls.language, hint=cls.hint) if learned else cls().read(page)
    return read(page, hint=hint)


def reasons(page: Page, hint: Mapping[str, Any] | None = None) -> list[str]:
    """Why learning reads a page as it does, in lines."""
    try:
        return list(explain(page, hint=hint))
    except Unreadable as error:
        return [str(error)]


class _OnePage(scrapy.Spider):
    """Fetches one address and keeps it."""

    name = "peek"

    def __init__(self, url: str) -> None:
        super().__init__()
        self.start_urls = [url]
        self.fetched: Fetched | None = None
        self.trouble: str | None = None

    async def start(self) -> Any:
        for url in self.start_urls:
            yield scrapy.Request(url, callback=self.keep, errback=self.fail)

    def keep(self, response: Response) -> None:
        content_type = (response.headers.get("Content-Type") or b"").decode("latin-1")
        headers = {"content-type": content_type}
        page = Page(response.url, response.body, response.status, headers, datetime.now(UTC))
        hops = [*response.meta.get("redirect_urls", ()), response.url]
        lasting = takewhile(_FOR_GOOD.__contains__, response.meta.get("redirect_reasons", ()))
        self.fetched = Fetched(page, hops[len(list(lasting))])

    def fail(self, failure: TwistedFailure) -> None:
        self.trouble = str(failure.value) or type(failure.value).__name__
