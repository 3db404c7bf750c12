"""Archive -> entries, with no network: rebuild a data set, or make good what a dead run had fetched.

Answers pass through the same reading as in a live run (``ListingSpider.look``) and the same publish,
so the rows are the same.
"""

from __future__ import annotations

from collections.abc import Iterable
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

from harvester.archive import Answer, Damage, read_archive, read_run, set_torn_tail_aside
from harvester.page import Page
from harvester.spider import Evidence, ListingSpider
from pipelines import ledger
from pipelines.dataset import ARCHIVE_SUFFIX, Dataset
from pipelines.entry import Sighting
from pipelines.identity import host_of
from pipelines.ledger import Course, Failure, Fault, PageSeen, Stop
from pipelines.publish import Report, publish
from pipelines.run import Run, Scope, next_run_id
from pipelines.table import DatasetError

if TYPE_CHECKING:
    from scrapy.crawler import Crawler

_DIED: Final = "the run ended before it was published"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadRun:
    """An archived run, read again."""

    run: Run
    course: Course
    sightings: list[Sighting]


def read_archived_run(
    dataset: Dataset,
    spider: ListingSpider,
    settings: BaseSettings,
    path: Path,
    window: Scope | None = None,
) -> ReadRun:
    """Read the listing pages in an archive file as ``spider`` reads them today.

    Entries are admitted by ``window``, or where it is ``None`` by the window of the run itself.
    Damaged records and pages that cannot be read are named in the course's failures; pages that were
    empty already when ``dataset`` first had them are not.
    """
    run = read_run(path, spider.name)
    empty = ledger.empty_pages(dataset, run.run_id)
    if not run.hosts:  # an archive from elsewhere: whatever the source calls its own
        run = replace(run, hosts=spider.hosts)
    scope = window or run.scope
    name = _name_in_data_set(path)
    decoder = _decoder(settings)
    pages: list[PageSeen] = []
    failures: list[Failure] = []
    sightings: list[Sighting] = []
    for answer in read_archive(path):
        if isinstance(answer, Damage):
            reason = f"damaged at byte {answer.offset}: {answer.reason}"
            failures.append(Failure(url=str(path), reason=reason, fault=Fault.DATA))
            continue
        if not _is_listing(answer, run):
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
        pages.append(look.seen)
        sightings += look.sightings
        if look.failure is not None and answer.record_id not in empty:
            failures.append(look.failure)
    stops = [Stop(start_url=url, reason=_DIED, whole=False) for url in run.scope.start_urls]
    course = Course(pages=tuple(pages), stops=tuple(stops), failures=tuple(failures))
    return ReadRun(run=run, course=course, sightings=sightings)


def replay(
    dataset: Dataset,
    spider: ListingSpider,
    settings: BaseSettings,
    archives: Iterable[Path],
    *,
    since: date | None = None,
    until: date | None = None,
    rebuild: bool = False,
    anyway: bool = False,
) -> Report:
    """Publish what a source's archive files hold into ``dataset``, oldest run first, as one run.

    A window given here takes the place of the windows that the runs were asked for.  ``rebuild`` says
    that these are all archive files of the source; if they can be read whole, rows are made anew, with
    ``anyway`` in any case, and from damaged tables only what can be read is kept.
    """
    window = Scope(since=since, until=until) if since or until else None
    with dataset.lock(spider.name):
        runs = [read_archived_run(dataset, spider, settings, path, window) for path in archives]
        runs.sort(key=lambda r: r.run.run_id)
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
        return publish(
            dataset,
            run,
            (sighting for r in runs for sighting in r.sightings),
            course,
            archived={r.run.run_id: (r.run, r.course) for r in runs},
            rebuild=anyway or (rebuild and not course.failures),
            repair=anyway,
        )


def repair(dataset: Dataset, spider: ListingSpider, settings: BaseSettings) -> Report:
    """Make the tables of a source anew from its archive, whatever they hold; keep what can be read."""
    with dataset.lock(spider.name):
        ledger.set_damaged_aside(dataset, spider.name)
    return replay(dataset, spider, settings, dataset.archive_files(spider.name), anyway=True)


def unpublished(dataset: Dataset, source: str) -> list[Path]:
    """The archive files of runs that have no ledger: their process died before the end."""
    files = dataset.archive_files(source)
    return [
        path for path in files if not ledger.exists(dataset, path.name.removesuffix(ARCHIVE_SUFFIX))
    ]


def recover(dataset: Dataset, spider: ListingSpider, settings: BaseSettings) -> list[Failure]:
    """Publish what dead runs of this source had fetched.  The caller holds the source's lock.

    Returns what went wrong.  A run that cannot be read because of a bug stays unpublished, and the
    next run tries again.
    """
    failures: list[Failure] = []
    for path in unpublished(dataset, spider.name):
        try:
            torn = set_torn_tail_aside(path)
            found = read_archived_run(dataset, spider, settings, path)
            # A file that was torn before it named its run still has its run's name.
            run = replace(found.run, run_id=path.name.removesuffix(ARCHIVE_SUFFIX), mode="recovery")
            sightings = [replace(s, run_id=run.run_id) for s in found.sightings]
            failures += found.course.failures
            if any(failure.fault is Fault.BUG for failure in found.course.failures):
                continue
            if torn is not None:  # what a killed run was writing; it had not been read
                noted = Failure(
                    url=str(path), reason=f"torn at byte {torn.offset}", fault=Fault.DATA
                )
                course = replace(found.course, failures=(*found.course.failures, noted))
                found = replace(found, course=course)
            publish(dataset, run, sightings, found.course)
        except Exception as error:
            fault = Fault.DATA if isinstance(error, DatasetError) else Fault.OUTPUT
            fault = fault if isinstance(error, (DatasetError, OSError)) else Fault.BUG
            failures.append(Failure(url=str(path), reason=str(error), fault=fault))
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


def _page(answer: Answer, decoder: HttpCompressionMiddleware) -> Page:
    headers = dict(answer.headers)
    body = answer.body
    if "content-encoding" in headers:
        response = Response(
            answer.url, status=answer.status, headers=Headers(headers), body=answer.body
        )
        decoded = decoder.process_response(Request(answer.url), response)
        assert isinstance(decoded, Response)
        body = decoded.body
    return Page(answer.url, body, answer.status, headers, answer.fetched_at)


def _is_listing(answer: Answer, run: Run) -> bool:
    """The pages that a live run hands to the spider; of other people's archives, the source's HTML."""
    if not answer.listing or not 200 <= answer.status < 300:
        return False
    if run.mode != "replay":
        return True
    html = "html" in dict(answer.headers).get("content-type", "html")
    return html and host_of(answer.url) in run.hosts


def _name_in_data_set(path: Path) -> str:
    """An archive file's name in rows: relative to its output folder, or whole if it lies elsewhere."""
    folders = path.absolute().parts[-3:]
    return "/".join(folders) if folders[0] == "archive" else str(path.absolute())
