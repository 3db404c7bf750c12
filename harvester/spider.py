"""ListingSpider: fetch a listing page, read it, follow it.  A source is a subclass of a few lines.

    name, start_urls, language, timezone        always
    pattern                                      where the markup is known; learned otherwise
    read_record(tag)                             where single records need a person's hand
    render                                       where the listing is made by scripts

The spider only yields: entries as items, next pages as requests.  What to keep of them is decided in
``pipelines``, what to fetch next in ``paging``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime
from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self
from urllib.parse import urlsplit

import scrapy
from scrapy import signals
from scrapy.exceptions import IgnoreRequest
from scrapy.http import Request, Response
from scrapy.settings import BaseSettings
from scrapy.spidermiddlewares.httperror import HttpError
from twisted.python.failure import Failure as TwistedFailure
from xxhash import xxh3_128_digest

from harvester import browser, paging
from harvester.page import Page
from harvester.paging import Chain, Follow, StopReason
from harvester.parsers.article import article_date
from harvester.parsers.listing import Listing, read
from harvester.parsers.pattern import ListingPattern
from harvester.parsers.standin import stands_in
from harvester.politeness import ComeBackLater
from harvester.reading import Evidence, Reader
from pipelines.articles import lacks_date
from pipelines.entry import ArticleDate, Batch, Entry, Sighting
from pipelines.health import Finding, Severity, is_held
from pipelines.identity import canonical_url, host_of
from pipelines.ledger import Course, Failure, Fault, PageSeen, Stop
from pipelines.run import Run, Scope
from pipelines.table import DatasetError

if TYPE_CHECKING:
    from bs4 import Tag
    from scrapy.crawler import Crawler

    from harvester.archive.writer import ArchiveWriter
    from pipelines.publish import Report

# Where the recorder leaves the evidence of an answer in ``request.meta``.
EVIDENCE = "harvester_evidence"


class OutputError(Exception):
    """What was fetched cannot be written down; without its evidence a page is not read."""


class Memory(Protocol):
    """What the data set remembers; the item pipeline gives it to the spider."""

    def read_whole(self, start_url: str) -> bool:
        """Whether the last run from this address left nothing unread."""

    def news(self, page: Sequence[Sighting]) -> frozenset[int]:
        """The positions on a page of what is not stored, or was edited."""


class ListingSpider(scrapy.Spider):
    """A source: a listing and how it is read.

    Arguments, as ``scrapy crawl NAME -a key=value`` gives them: ``start_url`` (several are divided by
    blanks), ``since`` and ``until`` (ISO days, both included), ``max_pages`` for each start address,
    ``full`` (read on past pages on which everything is known), ``accept`` (a page may have changed).

    Without a ``pattern`` a page is learned, and read so until that no longer reads it; ``hint`` are fields
    of a pattern that learning keeps.
    Where a listing has changed its layout, ``pattern`` names the day from which each pattern holds,
    ``{"2015-03-01": ListingPattern(...), "2021-09-14": ...}``: archived pages are read with that of
    their day, and learned where they are older than all.

    Where the listing prints no dates, ``article_dates`` is how many pages of new entries a run may fetch
    for theirs.

    With ``render`` a browser runs the scripts of each page, and what the page says then is archived.
    """

    language: ClassVar[str | None] = None
    timezone: ClassVar[str] = "UTC"
    pattern: ClassVar[ListingPattern | Mapping[str, ListingPattern] | None] = None
    hint: ClassVar[Mapping[str, Any] | None] = None
    render: ClassVar[bool] = False
    article_dates: ClassVar[int] = 0

    def __init__(
        self,
        start_url: str | Sequence[str] | None = None,
        since: str | date | None = None,
        until: str | date | None = None,
        max_pages: str | int | None = None,
        full: str | bool = False,
        accept: str | bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if start_url:
            self.start_urls = start_url.split() if isinstance(start_url, str) else list(start_url)
        self.scope = Scope(
            start_urls=tuple(dict.fromkeys(self.start_urls)),
            since=_day("since", since),
            until=_day("until", until),
            max_pages=_count("max_pages", max_pages),
            full=_flag(full),
            accept=_flag(accept),
        )
        for url in self.scope.start_urls:
            if canonical_url(url) is None:
                raise ValueError(f"start_url={url!r} is no http address")
            if "@" in urlsplit(url).netloc:  # it would stand in every row, archive and log
                raise ValueError("a start_url holds a login; set HTTPAUTH_USER instead")
        if self.scope.since and self.scope.until and self.scope.since > self.scope.until:
            raise ValueError(f"since={self.scope.since} lies after until={self.scope.until}")
        self.hosts = frozenset(
            host_of(url) for url in (*type(self).start_urls, *self.scope.start_urls)
        )
        self.batches = False
        self.run: Run | None = None
        self.archive: ArchiveWriter | None = None
        self.memory: Memory | None = None
        self.reader = Reader(self)
        self.recovery: list[Failure] = []
        self.report: Report | None = None
        self.error: Exception | None = None
        self._pages: list[PageSeen] = []
        self._stops: dict[str, Stop] = {}
        self._failures: list[Failure] = []
        self._findings: list[Finding] = []
        self._asked: set[str] = set()  # articles
        self._dated = 0

    @classmethod
    def update_settings(cls, settings: BaseSettings) -> None:
        """The settings of this source alone."""
        super().update_settings(settings)
        if cls.render:
            browser.use_browser(settings)

    @classmethod
    def from_crawler(cls, crawler: Crawler, *args: Any, **kwargs: Any) -> Self:
        """Scrapy's door; errors in callbacks are heard, so that they reach the ledger.

        Raises ``CannotRender`` where the source needs a browser that is not there.
        """
        if cls.render:
            browser.check(crawler.settings)
        spider = super().from_crawler(crawler, *args, **kwargs)
        crawler.signals.connect(spider.broke, signals.spider_error)
        spider.batches = crawler.settings.getbool("HARVESTER_BATCHES")
        return spider

    def read_record(self, tag: Tag) -> Entry | None:
        """Override to read a record by hand; see ``parsers.listing.read``."""
        raise NotImplementedError

    @classmethod
    def pattern_on(cls, moment: datetime | None) -> ListingPattern | None:
        """The pattern for a page that was fetched then; the newest where nobody knows when."""
        if not isinstance(cls.pattern, Mapping):
            return cls.pattern
        day = moment.date() if moment else date.max
        holding = [start for start in cls.pattern if date.fromisoformat(start) <= day]
        return cls.pattern[max(holding)] if holding else None

    @property
    def reads_by_hand(self) -> bool:
        """Whether this source reads single records itself."""
        return type(self).read_record is not ListingSpider.read_record

    def told_on(self, moment: datetime | None) -> str | None:
        """All that this source's file says of the layout of a page that was fetched then."""
        pattern = self.pattern_on(moment)
        if pattern is not None:
            return pattern.to_toml()
        return f"hint: {sorted(self.hint.items())}" if self.hint else None

    def read(self, page: Page, pattern: ListingPattern | None = None) -> Listing:
        """Read one listing page: with a pattern, else with the source's own, else with a learned one.

        Pure but for what a subclass makes of it.
        """
        return read(
            page,
            pattern or self.pattern_on(page.fetched_at),
            language=self.language,
            timezone=self.timezone,
            read_record=self.read_record if self.reads_by_hand else None,
            hint=self.hint,
        )

    def learn(self, page: Page, examples: Sequence[Entry] = ()) -> Listing:
        """Read one listing page with a pattern that is learned from it; ``examples`` are known entries.

        These say more than a hint, which was given for another layout.
        """
        hint = None if examples else self.hint
        return read(
            page, language=self.language, timezone=self.timezone, hint=hint, examples=examples
        )

    def date_of(self, page: Page, entry_url: str, record_id: str) -> ArticleDate | None:
        """The date that an entry's own page gives; live runs and replays alike."""
        found = article_date(page, self.language)
        if found is None:
            return None
        return ArticleDate(
            url=entry_url,
            published=found.value,
            published_precision=found.precision,
            published_raw=found.raw,
            warc_record_id=record_id,
        )

    def look(self, page: Page, evidence: Evidence, scope: Scope, reader: Reader) -> Look:
        """Read a page and say where each of its entries was seen; live runs and replays alike."""
        found = reader.read(page, evidence, accept=scope.accept)
        listing = found.listing
        sightings = [
            Sighting(
                **dict(zip(_ENTRY_FIELDS, _entry_values(entry), strict=True)),
                source=self.name,
                language=listing.language or self.language,
                page_url=page.url,
                position=position,
                fetched_at=evidence.fetched_at,
                run_id=evidence.run_id,
                warc_file=evidence.warc_file,
                warc_record_id=evidence.warc_record_id,
            )
            for position, entry in enumerate(listing.entries)
            if scope.covers(entry)
        ]
        seen = PageSeen(
            url=page.url,
            fetched_at=evidence.fetched_at,
            status=page.status,
            vitals=found.vitals,
            entries=len(sightings),
            unread_dates=sum(
                e.published is None and bool(e.published_raw) for e in listing.entries
            ),
            warc_file=evidence.warc_file,
            warc_record_id=evidence.warc_record_id,
            next_url=listing.next_url,
            pattern=found.pattern,
            instead_of=found.instead_of,
            proposed=found.proposed,
        )
        # No listing that people keep is empty: it has changed, or this is another page in its place.
        failure = None
        if not listing.entries and not is_held(found.findings):
            reasons = filter(None, (stands_in(page), *listing.evidence.reasons))
            failure = Failure(url=page.url, reason="no entries: " + "; ".join(reasons))
        return Look(listing, sightings, seen, found.findings, failure)

    async def start(self) -> AsyncIterator[Any]:
        """One chain of pages for each start address."""
        for url in self.scope.start_urls:
            yield self._request(url, Chain(url))

    def _request(self, url: str, chain: Chain) -> Request:
        # Cycles are for ``paging`` to see and to name, not for Scrapy to drop without a word.
        return Request(
            url,
            callback=self.parse,
            errback=self.failed,
            cb_kwargs={"chain": chain},
            meta={browser.RENDER: True} if self.render else None,
            dont_filter=True,
        )

    def parse(self, response: Response, chain: Chain | None = None) -> Iterator[Any]:
        """Read a page: yield its entries, then the request for the next page, if any."""
        chain = chain or Chain(response.url)
        if self.error is not None:  # what is read now could not be published
            return
        # Until the page is read to its end, this is what happened to it.
        self._stop(chain, StopReason.FAILED)
        now = datetime.now(UTC)
        evidence = response.meta.get(EVIDENCE) or Evidence("", "", "", now, now)
        page = _page(response, evidence)
        look = self.look(page, evidence, self.scope, self.reader)
        self._pages.append(look.seen)
        self._findings += look.findings
        if look.failure is not None:
            self._failures.append(look.failure)
        if is_held(look.findings):
            self._stop(chain, StopReason.CHANGED)
            return
        if self.batches:
            yield Batch(tuple(look.sightings))
        else:
            yield from look.sightings
        news = self._news(chain, look)
        seen = paging.Seen(
            url=response.url,
            digest=xxh3_128_digest(response.body),
            entries=look.listing.entries,
            next_url=look.listing.next_url,
            fetched_on=evidence.fetched_at.date(),
            known_tail=self._known_tail(chain, look, news),
        )
        yield from self._articles(look, news)
        chain.saw(seen, self.scope)
        step = paging.decide(seen, chain, self.scope, self.hosts)
        if isinstance(step, Follow):
            self._stops.pop(chain.start_url, None)
            yield self._request(step.url, chain)
            return
        self._stop(chain, step.reason)

    def _news(self, chain: Chain, look: Look) -> frozenset[int]:
        """What on a page is not stored, or was edited, where anybody wants to know."""
        if not look.sightings or self.memory is None:
            return frozenset()
        asked = not self.scope.full and self.memory.read_whole(chain.start_url)
        return self.memory.news(look.sightings) if asked or self.article_dates else frozenset()

    def _known_tail(self, chain: Chain, look: Look, news: frozenset[int]) -> int:
        """How many entries at the end of a page are known; those outside the window do not count."""
        if not look.sightings or self.memory is None or self.scope.full:
            return 0
        if not self.memory.read_whole(chain.start_url):
            return 0
        return len(look.listing.entries) - 1 - max(news, default=-1)

    def _articles(self, look: Look, news: frozenset[int]) -> Iterator[Request]:
        """Requests for the pages of new entries of which the listing gives no date, as many as may be."""
        for sighting in look.sightings:
            url = canonical_url(sighting.url or "")
            wanted = sighting.position in news and lacks_date(sighting) and url
            if len(self._asked) >= self.article_dates or not wanted or url in self._asked:
                continue
            if url is not None and host_of(url) in self.hosts | {host_of(look.seen.url)}:
                self._asked.add(url)
                yield Request(
                    url,
                    callback=self.parse_article,
                    errback=self.no_article,
                    cb_kwargs={"article_of": url},
                    dont_filter=True,
                )

    def parse_article(self, response: Response, article_of: str) -> Iterator[ArticleDate]:
        """Read an entry's own page, for its date."""
        evidence: Evidence | None = response.meta.get(EVIDENCE)
        if evidence is not None and (
            found := self.date_of(_page(response, evidence), article_of, evidence.warc_record_id)
        ):
            self._dated += 1
            yield found

    def no_article(self, failure: TwistedFailure) -> None:
        """An article that could not be had leaves its entry without a date, and is no failure."""
        error = failure.value
        if isinstance(error, (OutputError, ComeBackLater)):
            fault = Fault.OUTPUT if isinstance(error, OutputError) else Fault.LATER
            url = failure.request.url  # type: ignore[attr-defined]
            self._failures.append(Failure(url=url, reason=_said(error), fault=fault))

    def failed(self, failure: TwistedFailure) -> None:
        """A page that could not be had ends its chain."""
        request: Request = failure.request  # type: ignore[attr-defined]
        chain: Chain = request.cb_kwargs["chain"]
        self._stop(chain, StopReason.FAILED)
        error = failure.value
        reason = f"HTTP {error.response.status}" if isinstance(error, HttpError) else _said(error)
        later = isinstance(error, ComeBackLater) or (
            isinstance(error, HttpError) and error.response.status == 429
        )
        fault = Fault.LATER if later else Fault.SOURCE
        if isinstance(error, OutputError):
            fault = Fault.OUTPUT
        self._failures.append(Failure(url=request.url, reason=reason, fault=fault))

    def broke(self, failure: TwistedFailure, response: Response) -> None:
        """Reading a page raised: a bug here or in the source's file."""
        fault = Fault.DATA if isinstance(failure.value, DatasetError) else Fault.BUG
        self._failures.append(Failure(url=response.url, reason=_said(failure.value), fault=fault))

    def _stop(self, chain: Chain, reason: StopReason) -> None:
        # A window leaves entries out, so that what it has seen says nothing of the rest.
        whole = reason.whole and not (self.scope.since or self.scope.until)
        self._stops[chain.start_url] = Stop(
            start_url=chain.start_url, reason=reason.value, whole=whole
        )

    def finish(self) -> Course:
        """Make the archive durable and say how the run went; a chain without an end was interrupted."""
        if self.archive is not None:
            self.archive.close()
        broken = StopReason.INTERRUPTED
        if without := len(self._asked) - self._dated:
            reason = f"{without} of {len(self._asked)} articles were not had, or say no date"
            url = self.scope.start_urls[0]
            self._findings.append(Finding(url=url, severity=Severity.NOTICE, reason=reason))
        stops = [
            self._stops.get(url) or Stop(start_url=url, reason=broken.value, whole=broken.whole)
            for url in self.scope.start_urls
        ]
        return Course(
            pages=tuple(self._pages),
            stops=tuple(stops),
            failures=tuple(self._failures),
            findings=tuple(self._findings),
            habits=self.reader.finish(),
        )


@dataclass(frozen=True, slots=True)
class Look:
    """A page that was read: the listing, its entries inside the window, its line in the ledger.

    And what is odd about it, and why it is none.
    """

    listing: Listing
    sightings: list[Sighting]
    seen: PageSeen
    findings: tuple[Finding, ...]
    failure: Failure | None


_ENTRY_FIELDS = tuple(field.name for field in fields(Entry))
_entry_values = attrgetter(*_ENTRY_FIELDS)


def _page(response: Response, evidence: Evidence) -> Page:
    content_type = (response.headers.get("Content-Type") or b"").decode("latin-1")
    told = {"content-type": content_type}
    return Page(response.url, response.body, response.status, told, evidence.body_from)


def _said(error: BaseException | None) -> str:
    if isinstance(error, IgnoreRequest) and str(error):
        return str(error)
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _flag(value: str | bool) -> bool:
    return str(value).lower() in ("1", "true", "yes")


def _day(name: str, value: str | date | None) -> date | None:
    if value is None or isinstance(value, date):
        return value
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise ValueError(f"{name}={value!r} is no day; write it as 2011-07-31") from None


def _count(name: str, value: str | int | None) -> int | None:
    if value is None:
        return None
    try:
        count = int(value)
    except ValueError:
        count = 0
    if count < 1:
        raise ValueError(f"{name}={value!r} is no number of pages; write 1 or more")
    return count
