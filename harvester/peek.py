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
from scrapy.settings import BaseSettings, Settings
from twisted.python.failure import Failure as TwistedFailure

from harvester import browser
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


def get(
    target: str, url: str | None, settings: Settings, source: type[ListingSpider] | None = None
) -> Page:
    """The page at an address, or in a file.  Raises ``PeekError``.

    What is fetched for a ``source`` that says so is rendered; raises ``CannotRender``.
    """
    if not target.lower().startswith(("http://", "https://")):
        try:
            return Page(url or Path(target).absolute().as_uri(), Path(target).read_bytes())
        except OSError as error:
            raise PeekError(
                f"{target}: {error.strerror}; give a file or an http address"
            ) from error
    return fetch(target, settings, source).page


def fetch(url: str, settings: Settings, source: type[ListingSpider] | None = None) -> Fetched:
    """The page at an address, fetched as a crawl would.  Raises ``PeekError``."""
    render = source is not None and source.render
    if render:
        browser.check(settings)
    process = CrawlerProcess(settings)
    crawler = process.create_crawler(_OneRendered if render else _OnePage)
    process.crawl(crawler, url=url, source=source)
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
    cls = source_of(page.url, sources, name)
    if cls is None or hint:
        return read(page, hint=hint)
    return read(page, language=cls.language, hint=cls.hint) if learned else cls().read(page)


def source_of(
    url: str, sources: Mapping[str, type[ListingSpider]], name: str | None
) -> type[ListingSpider] | None:
    """The named source, or the one whose site an address is on."""
    if name is not None:
        return sources.get(name)
    host = host_of(url)
    of_host = (cls for cls in sources.values() if host in map(host_of, cls.start_urls))
    return next(of_host, None)


def reasons(page: Page, hint: Mapping[str, Any] | None = None) -> list[str]:
    """Why learning reads a page as it does, in lines."""
    try:
        return list(explain(page, hint=hint))
    except Unreadable as error:
        return [str(error)]


class _OnePage(scrapy.Spider):
    """Fetches one address and keeps it."""

    name = "peek"
    meta: Mapping[str, Any] = {}

    def __init__(self, url: str, source: type[ListingSpider] | None) -> None:
        super().__init__()
        if source is not None:
            self.language, self.timezone = source.language, source.timezone
        self.start_urls = [url]
        self.fetched: Fetched | None = None
        self.trouble: str | None = None

    async def start(self) -> Any:
        for url in self.start_urls:
            yield scrapy.Request(url, callback=self.keep, errback=self.fail, meta=dict(self.meta))

    def keep(self, response: Response) -> None:
        content_type = (response.headers.get("Content-Type") or b"").decode("latin-1")
        headers = {"content-type": content_type}
        page = Page(response.url, response.body, response.status, headers, datetime.now(UTC))
        hops = [*response.meta.get("redirect_urls", ()), response.url]
        lasting = takewhile(_FOR_GOOD.__contains__, response.meta.get("redirect_reasons", ()))
        self.fetched = Fetched(page, hops[len(list(lasting))])

    def fail(self, failure: TwistedFailure) -> None:
        self.trouble = str(failure.value) or type(failure.value).__name__


class _OneRendered(_OnePage):
    """The same, as it stands after its scripts ran."""

    meta = {browser.RENDER: True}

    @classmethod
    def update_settings(cls, settings: BaseSettings) -> None:
        super().update_settings(settings)
        browser.use_browser(settings)
