"""Archive -> entries, with no network: rebuild a data set, or make good what a dead run had fetched.

Answers pass through the same reading as in a live run (``ListingSpider.look``) and the same publish,
so the rows are the same.
"""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Final, Self

from scrapy import signals
from scrapy.downloadermiddlewares.httpcompression import HttpCompressionMiddleware
from scrapy.exceptions import IgnoreRequest
from scrapy.http import Headers, Request, Response
from scrapy.settings import BaseSettings
from scrapy.signalmanager import SignalManager

from harvester.archive.reader import (
    Originals,
    make_index,
    read_archive,
    read_run,
    run_from_elsewhere,
    set_torn_tail_aside,
)
from harvester.archive.words import Answer, Damage
from harvester.page import Page
from harvester.paging import same_listing
from harvester.spider import Evidence, ListingSpider
from pipelines import ledger
from pipelines.dataset import Dataset, run_of
from pipelines.entry import Sighting
from pipelines.ledger import Course, Failure, Fault, PageSeen, Stop
from pipelines.publish import Report, publish
from pipelines.run import Run, Scope, next_run_id
from pipelines.table import DatasetError

if TYPE_CHECKING:
    from scrapy.crawler import Crawler

_DIED: Final = "the run ended before it was published"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedRun:
    """A run, and the files that it left; ``ours`` unless they come from elsewhere."""

    run: Run
    files: tuple[Path, ...]
    ours: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadRun:
    """An archived run, read again.  ``others`` counts the records that are no pages of the listing."""

    run: Run
    course: Course
    sightings: list[Sighting]
    others: Counter[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What a replay did, and the records that it left out, by the reason."""

    report: Report
    others: Counter[str]


def archived_runs(files: Iterable[Path], source: str) -> list[ArchivedRun]:
    """The runs that archive files hold, oldest first."""
    found: dict[str, ArchivedRun] = {}
    for path in files:
        told = read_run(path)
        run = told or run_from_elsewhere(path, source)
        before = found[run.run_id].files if run.run_id in found else ()
        found[run.run_id] = ArchivedRun(run=run, files=(*before, path), ours=told is not None)
    return [found[run_id] for run_id in sorted(found)]


def read_archived_run(
    dataset: Dataset,
    spider: ListingSpider,
    settings: BaseSettings,
    archived: ArchivedRun,
    originals: Originals,
    window: Scope | None = None,
    names: Mapping[Path, str] | None = None,
) -> ReadRun:
    """Read the listing pages in a run's archive as ``spider`` reads them today.

    Entries are admitted by ``window``, or where it is ``None`` by the window of the run itself.
    ``names`` are those that files from elsewhere go by in rows.
    Damaged records and pages that cannot be read are named in the course's failures; pages that were
    empty already when ``dataset`` first had them are not, nor what is no listing in other people's
    archives.
    """
    run = archived.run
    empty = ledger.empty_pages(dataset, run.run_id)
    if not run.hosts:  # an archive from elsewhere: whatever the source calls its own
        run = replace(run, hosts=spider.hosts)
    scope = window or run.scope
    decoder = _decoder(settings)
    pages: list[PageSeen] = []
    failures: list[Failure] = []
    sightings: list[Sighting] = []
    others: Counter[str] = Counter()
    followed: set[str] = set()
    for path in archived.files:
        name = (names or {}).get(path, "")
        if archived.ours:
            name = f"archive/{run.source}/{path.name}"
        for answer in read_archive(path, originals, others):
            if isinstance(answer, Damage):
                reason = f"damaged at byte {answer.offset}: {answer.reason}"
                failures.append(Failure(url=str(path), reason=reason, fault=Fault.DATA))
                continue
            if other := _unread(answer, archived, spider, followed):
                others[other] += 1
                continue
            try:
                page = _page(answer, decoder)
                evidence = Evidence(run.run_id, name, answer.record_id, answer.fetched_at)
                look = spider.look(page, evidence, scope)
            except (IgnoreRequest, OSError) as error:
                failures.append(Failure(url=answer.url, reason=str(error)))
                continue
            except Exception as error:
                reason = f"{type(error).__name__}: {error}"
                failures.append(Failure(url=answer.url, reason=reason, fault=Fault.BUG))
                continue
            if look.failure is not None and not archived.ours:
                others["no listing"] += 1
                continue
            pages.append(look.seen)
            sightings += look.sightings
            followed.add(look.seen.next_url or "")
            if look.failure is not None and answer.record_id not in empty:
                failures.append(look.failure)
    stops = [Stop(start_url=url, reason=_DIED, whole=False) for url in run.scope.start_urls]
    course = Course(pages=tuple(pages), stops=tuple(stops), failures=tuple(failures))
    return ReadRun(run=run, course=course, sightings=sightings, others=others)


def replay(
    dataset: Dataset,
    spider: ListingSpider,
    settings: BaseSettings,
    archives: Mapping[Path, str],
    *,
    since: date | None = None,
    until: date | None = None,
    rebuild: bool = False,
    anyway: bool = False,
    dry_run: bool = False,
) -> Replayed:
    """Publish what a source's archive files hold into ``dataset``, oldest run first, as one run.

    ``archives`` gives each file the name that it goes by in rows, if it is from elsewhere.

    A window given here takes the place of the windows that the runs were asked for.  ``rebuild`` says
    that these are all archive files of the source; if they can be read whole, rows are made anew, with
    ``anyway`` in any case, and from damaged tables only what can be read is kept.  A ``dry_run`` only
    says what would change.
    """
    window = Scope(since=since, until=until) if since or until else None
    gc.set_threshold(50_000, 20, 50)  # many entries, which live to the end, and few cycles
    with ExitStack() as held:
        if not dry_run or dataset.root.is_dir():
            held.enter_context(dataset.lock(spider.name))
        originals = Originals()
        runs = [
            read_archived_run(dataset, spider, settings, archived, originals, window, archives)
            for archived in archived_runs(archives, spider.name)
        ]
        now = datetime.now(UTC)
        run = Run(
            run_id=next_run_id(spider.name, now, ledger.run_ids(dataset, spider.name)),
            source=spider.name,
            started=now,
            scope=window or Scope(),
            mode="replay",
        )
        course = Course(
            pages=tuple(page for r in runs for page in r.course.pages),
            failures=tuple(failure for r in runs for failure in r.course.failures),
        )
        report = publish(
            dataset,
            run,
            (sighting for r in runs for sighting in r.sightings),
            course,
            archived={r.run.run_id: (r.run, r.course) for r in runs},
            rebuild=anyway or (rebuild and not course.failures),
            repair=anyway,
            dry_run=dry_run,
        )
    return Replayed(report=report, others=sum((r.others for r in runs), Counter()))


def repair(dataset: Dataset, spider: ListingSpider, settings: BaseSettings) -> Report:
    """Make the tables of a source anew from its archive, whatever they hold; keep what can be read."""
    with dataset.lock(spider.name):
        ledger.set_damaged_aside(dataset, spider.name)
    files = dict.fromkeys(dataset.archive_files(spider.name), "")
    return replay(dataset, spider, settings, files, anyway=True).report


def unpublished(dataset: Dataset, source: str) -> list[str]:
    """The runs that have archive files and no ledger: their process died before the end."""
    runs = {run_of(path): None for path in dataset.archive_files(source)}
    return [run_id for run_id in runs if not ledger.exists(dataset, run_id)]


def recover(dataset: Dataset, spider: ListingSpider, settings: BaseSettings) -> list[Failure]:
    """Publish what dead runs of this source had fetched.  The caller holds the source's lock.

    Returns what went wrong.  A run that cannot be read because of a bug stays unpublished, and the
    next run tries again.
    """
    failures: list[Failure] = []
    originals = Originals()
    for run_id in unpublished(dataset, spider.name):
        files = dataset.archive_files(spider.name, run_id)
        try:
            torn = [damage for path in files if (damage := set_torn_tail_aside(path))]
            for path in files:
                make_index(path)
            run = read_run(files[0]) or run_from_elsewhere(files[0], spider.name)
            # A file that was torn before it named its run still has its run's name.
            run = replace(run, run_id=run_id, mode="recovery")
            archived = ArchivedRun(run=run, files=tuple(files), ours=True)
            found = read_archived_run(dataset, spider, settings, archived, originals)
            failures += found.course.failures
            if any(failure.fault is Fault.BUG for failure in found.course.failures):
                continue
            # What a killed run was writing; it had not been read.
            noted = [
                Failure(url=str(each.path), reason=f"torn at byte {each.offset}", fault=Fault.DATA)
                for each in torn
            ]
            course = replace(found.course, failures=(*found.course.failures, *noted))
            publish(dataset, run, found.sightings, course)
        except Exception as error:
            fault = Fault.DATA if isinstance(error, DatasetError) else Fault.OUTPUT
            fault = fault if isinstance(error, (DatasetError, OSError)) else Fault.BUG
            failures.append(Failure(url=str(files[0]), reason=str(error), fault=fault))
    return failures


class RecoverOnStart:
    """Scrapy extension: a run begins with what the runs before it left unpublished."""

    def __init__(self, crawler: Crawler) -> None:
        self._crawler = crawler
        crawler.signals.connect(self._opened, signals.spider_opened)

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        return cls(crawler)

    def _opened(self, spider: ListingSpider) -> None:
        if getattr(spider, "run", None) is None:  # nothing will be published
            return
        dataset = Dataset(Path(self._crawler.settings["HARVESTER_OUTPUT"]))
        spider.recovery = recover(dataset, type(spider)(), self._crawler.settings)


def _decoder(settings: BaseSettings) -> HttpCompressionMiddleware:
    """Scrapy's own decompression with its size limit, so that a replay sees what the spider saw."""
    parts = SimpleNamespace(settings=settings, stats=None, signals=SignalManager())
    return HttpCompressionMiddleware.from_crawler(parts)  # type: ignore[arg-type]


def page_of(answer: Answer, settings: BaseSettings) -> Page:
    """The page that an archived answer holds, its content encoding undone as in a live run.

    Raises ``OSError`` or Scrapy's ``IgnoreRequest`` where that cannot be.
    """
    return _page(answer, _decoder(settings))


def decoded(url: str, headers: Mapping[str, str], body: bytes, settings: BaseSettings) -> bytes:
    """A body without its content encoding; raises as ``page_of``."""
    return _decoded(url, headers, body, _decoder(settings))


def _page(answer: Answer, decoder: HttpCompressionMiddleware) -> Page:
    headers = dict(answer.headers)
    body = _decoded(answer.url, headers, answer.body, decoder)
    return Page(answer.url, body, answer.status, headers, answer.fetched_at)


def _decoded(
    url: str, headers: Mapping[str, str], body: bytes, decoder: HttpCompressionMiddleware
) -> bytes:
    if "content-encoding" not in headers:
        return body
    response = Response(url, headers=Headers(headers), body=body)
    plain = decoder.process_response(Request(url), response)
    assert isinstance(plain, Response)
    return plain.body


def _unread(
    answer: Answer, archived: ArchivedRun, spider: ListingSpider, followed: set[str]
) -> str | None:
    """Why an answer is not read as a page of the listing; ``None`` if it is.

    Read are the pages that a live run hands to the spider; of other people's archives those in the
    source's address space, and those that a page leads on to.
    """
    if not answer.listing:
        return "no page of the listing"
    if answer.truncated:
        return "cut short"
    if not 200 <= answer.status < 300:
        return f"status {answer.status}"
    if archived.ours:
        return None
    if "html" not in dict(answer.headers).get("content-type", "html"):
        return "no HTML"
    known = {*type(spider).start_urls, *spider.scope.start_urls}
    if answer.url in followed or any(same_listing(answer.url, url) for url in known):
        return None
    return "another address"
