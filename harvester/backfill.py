"""A listing's past, taken from a web archive: its captures become archived runs of their own.

Each capture is written to the source's archive with the time at which the web archive had fetched it,
and published like a run that died before its end; so entries are first seen when they were first
captured, and what is known of later days is not overwritten.  A capture is fetched once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

import scrapy
from scrapy.crawler import CrawlerProcess
from scrapy.exceptions import IgnoreRequest
from scrapy.http import Request, Response
from scrapy.settings import Settings
from scrapy.spidermiddlewares.httperror import HttpError
from twisted.python.failure import Failure as TwistedFailure

from harvester.archive.reader import lines_of
from harvester.archive.words import Exchange
from harvester.archive.writer import ArchiveWriter
from harvester.captures import (
    Capture,
    NoCaptures,
    captured_address,
    captures,
    index_address,
    worth_fetching,
)
from harvester.page import Page
from harvester.recorder import about, pairs
from harvester.replay import decoded, recover, replay
from harvester.spider import ListingSpider
from pipelines.dataset import Dataset, run_of
from pipelines.identity import host_of
from pipelines.ledger import Failure
from pipelines.run import Run, Scope, in_window, next_run_id

_REDIRECTS: Final = [301, 302, 303, 307, 308]
_MOST_HOPS: Final = 5


@dataclass(slots=True)
class Backfilled:
    """What came of it: captures listed, fetched now, known before; and what went wrong."""

    listed: int = 0
    fetched: int = 0
    known: int = 0
    failures: list[Failure] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is asked: captures of a source's start addresses in ``archive``, of a window of days.

    ``max_pages`` counts the pages of the listing; each has captures of its own.
    """

    archive: str
    since: date | None = None
    until: date | None = None
    max_pages: int = 1

    def wants(self, at: datetime) -> bool:
        """Whether a moment lies in the window of days."""
        return in_window(at.date(), self.since, self.until)


def backfill(
    dataset: Dataset, source: type[ListingSpider], settings: Settings, task: Task, **arguments: Any
) -> Backfilled:
    """Fetch captures, archive and publish them.  ``arguments`` are the spider's (``start_url``)."""
    spider = source(**arguments)
    with dataset.lock(spider.name):
        before = recover(dataset, spider, settings)
        store = _Store(dataset, spider, settings)
        process = CrawlerProcess(settings)
        crawler = process.create_crawler(_Captures)
        running = process.crawl(crawler, store=store, task=task, source=spider, settings=settings)
        raised: list[BaseException] = []

        def keep(failure: TwistedFailure) -> None:
            raised.extend([failure.value] if failure.value else [])

        running.addErrback(keep)
        process.start()
        if raised:
            raise raised[0]
        store.done.failures += [*before, *recover(dataset, source(), settings)]
    if store.done.fetched:
        # Captures are older than rows that are known: only the whole archive tells what was when.
        files = dict.fromkeys(dataset.archive_files(spider.name), "")
        replay(dataset, source(), settings, files, rebuild=True)
    return store.done


class _Store:
    """Writes captures to the archive, each as a run of its own."""

    def __init__(self, dataset: Dataset, spider: ListingSpider, settings: Settings) -> None:
        self._folder = dataset.archive_folder(spider.name)
        self._spider = spider
        self._about = {
            **about(settings),
            "description": "captures taken from a web archive, which WARC-Source-URI names",
        }
        files = dataset.archive_files(spider.name)
        self._taken = set(map(run_of, files))
        self._known = {
            (line.url, line.at.replace(microsecond=0)) for path in files for line in lines_of(path)
        }
        self.done = Backfilled()

    def knows(self, url: str, at: datetime) -> bool:
        """Whether a page as it was then is archived already."""
        return (url, at) in self._known

    def keep(self, url: str, at: datetime, request: Request, response: Response) -> None:
        """Write a capture down.  Raises ``OSError``."""
        name = self._spider.name
        run_id = next_run_id(name, at, ())
        while run_id in self._taken:  # another page was captured in the same second
            run_id = next_run_id(name, at, [run_id])
        self._taken.add(run_id)
        self._known.add((url, at))
        run = Run(
            run_id=run_id,
            source=name,
            started=at,
            hosts=self._spider.hosts,
            scope=Scope(start_urls=(url,)),
        )
        exchange = Exchange(
            url=url,
            method="GET",
            request_headers=pairs(request),
            status=response.status,
            protocol=response.protocol or "HTTP/1.1",
            headers=pairs(response),
            body=response.body,
            fetched_at=at,
            ip_address=None,  # that of the web archive is not the site's
            listing=True,
            taken_from=response.url,
        )
        with ArchiveWriter(self._folder, run, self._about) as writer:
            writer.append(exchange)
        self.done.fetched += 1


class _Captures(scrapy.Spider):
    """Asks for the list of captures of each listing page, then for the captures, one by one."""

    name = "backfill"
    # Bodies are kept with their content encoding, as in any archive; the pages are read afterwards.
    # What ends early is asked for again, and not kept: there is no recorder here to mark it.
    custom_settings = {"COMPRESSION_ENABLED": False, "DOWNLOAD_FAIL_ON_DATALOSS": True}

    def __init__(
        self, store: _Store, task: Task, source: ListingSpider, settings: Settings
    ) -> None:
        super().__init__()
        self._settings = settings
        self._store = store
        self._task = task
        self._source = source
        self._asked: set[str] = set()

    async def start(self) -> AsyncIterator[Any]:
        for url in self._source.scope.start_urls:
            if request := self._index(url, 1):
                yield request

    def _index(self, url: str, page: int) -> Request | None:
        if url in self._asked or page > self._task.max_pages:
            return None
        self._asked.add(url)
        return Request(
            index_address(self._task.archive, url),
            callback=self.parse_index,
            errback=self.failed,
            cb_kwargs={"url": url, "page": page},
            headers={"Accept": "*/*", "Accept-Encoding": "identity"},
            dont_filter=True,
        )

    def parse_index(self, response: Response, url: str, page: int) -> Iterator[Request]:
        """Ask for each capture that is not known yet."""
        try:
            found = captures(response.body.decode("utf-8", "replace"), response.url, url)
        except NoCaptures as error:
            self._fail(response.url, str(error))
            return
        self._store.done.listed += len(found)
        for capture in worth_fetching(found, self._task.since, self._task.until):
            if self._store.knows(capture.url, capture.at):
                self._store.done.known += 1
                continue
            yield self._ask(capture.raw_url, capture, page)

    def parse_capture(self, response: Response, capture: Capture, page: int) -> Iterator[Request]:
        """Keep a capture, and go on to the captures of its next page."""
        if 300 <= response.status < 400:
            yield from self._redirected(response, capture, page)
            return
        url, told = captured_address(response.url), _captured(response)
        if url is None and told is None:  # today's page, or a word of the archive's own
            self._fail(response.url, "what came is no capture")
            return
        at, url = told or capture.at, url or capture.url
        if self._store.knows(url, at) or not self._task.wants(at):  # the nearest that it could give
            self._store.done.known += 1
            return
        assert response.request is not None
        try:
            self._store.keep(url, at, response.request, response)
            next_url = self._next(url, at, response) if page < self._task.max_pages else None
        except OSError as error:
            self._fail(response.url, f"{error.filename or 'the archive'}: {error.strerror}")
            return
        except IgnoreRequest as error:
            self._fail(response.url, str(error))
            return
        if next_url and (request := self._index(next_url, page + 1)):
            yield request

    def _redirected(self, response: Response, capture: Capture, page: int) -> Iterator[Request]:
        """Follow a redirect to another capture in the same archive; no other is a capture."""
        assert response.request is not None
        hops = response.request.meta.get("hops", 0) + 1
        target = response.urljoin((response.headers.get("Location") or b"").decode("latin-1"))
        same = host_of(target) == host_of(self._task.archive) and captured_address(target)
        if same and hops <= _MOST_HOPS:
            yield self._ask(target, capture, page, hops)

    def _ask(self, url: str, capture: Capture, page: int, hops: int = 0) -> Request:
        return Request(
            url,
            callback=self.parse_capture,
            errback=self.failed,
            cb_kwargs={"capture": capture, "page": page},
            meta={"dont_redirect": True, "handle_httpstatus_list": _REDIRECTS, "hops": hops},
            dont_filter=True,
        )

    def _next(self, url: str, at: datetime, response: Response) -> str | None:
        headers = [
            (name.decode().lower(), value.decode("latin-1")) for name, value in pairs(response)
        ]
        body = decoded(url, headers, response.body, self._settings)
        return self._source.read(Page(url, body, response.status, dict(headers), at)).next_url

    def failed(self, failure: TwistedFailure) -> None:
        """What could not be had; a captured error is no capture of the listing."""
        error = failure.value
        if isinstance(error, HttpError) and _captured(error.response):
            return
        reason = f"HTTP {error.response.status}" if isinstance(error, HttpError) else str(error)
        url = failure.request.url  # type: ignore[attr-defined]
        self._fail(url, reason or type(error).__name__)

    def _fail(self, url: str, reason: str) -> None:
        self._store.done.failures.append(Failure(url=url, reason=reason))


def _captured(response: Response) -> datetime | None:
    """When the web archive had fetched what it sent (RFC 7089)."""
    told = (response.headers.get("Memento-Datetime") or b"").decode("latin-1")
    with suppress(ValueError, TypeError):
        return parsedate_to_datetime(told).astimezone(UTC)
    return None
