"""Archive -> entries, with no network: rebuild a data set, or make good what a dead run had fetched.

Answers pass through the same reading as in a live run (``ListingSpider.look``) and the same publish,
so the rows are the same.
"""

from __future__ import annotations

import gc
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import urljoin, urlsplit

from scrapy import signals
from scrapy.downloadermiddlewares.httpcompression import HttpCompressionMiddleware
from scrapy.exceptions import IgnoreRequest
from scrapy.http import Headers, Request, Response
from scrapy.settings import BaseSettings
from scrapy.signalmanager import SignalManager

from harvester.archive.reader import (
    Originals,
    answer_at,
    capture_run,
    lines_of,
    make_index,
    read_archive,
    read_run,
    set_torn_tail_aside,
)
from harvester.archive.words import Answer, Damage
from harvester.page import Page
from harvester.paging import same_listing
from harvester.reading import Evidence, Reader
from harvester.recall import Recall
from harvester.spider import ListingSpider
from pipelines import ledger
from pipelines.articles import dated
from pipelines.dataset import Dataset, Locked, open_dataset, run_of
from pipelines.entry import ArticleDate, Sighting
from pipelines.health import Finding, Habit, is_held
from pipelines.ledger import Course, Failure, Fault, PageSeen, Stop, held
from pipelines.publish import SLICE, Publication, Report
from pipelines.run import Run, Scope, next_run_id, run_started
from pipelines.table import DatasetError

if TYPE_CHECKING:
    from scrapy.crawler import Crawler

Pair = tuple[str, str]

_ONE_RUN: Final = timedelta(hours=1)
_DIED: Final = "the run ended before it was published"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedRun:
    """A run of ours and the files that it left, or files from elsewhere, which have no ``run``."""

    run: Run | None
    files: tuple[Path, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadRun:
    """An archived run, read again; ``sightings`` are those that were not taken page by page."""

    run: Run
    course: Course
    sightings: list[Sighting]


@dataclass(slots=True, kw_only=True)
class Reading:
    """What the reading of several files has in common.

    Entries are admitted by ``window``, or where it is ``None`` by the window of each run itself.
    ``reader`` knows what the runs before were shown; files from elsewhere, and captures, are read page
    by page, because years may lie between them.
    ``names`` are those that files from elsewhere go by in rows.  ``others`` counts the records that
    are no pages of the listing, by the reason; ``read`` are the records that were read.  ``accept`` takes
    pages as they are that would be held.
    """

    reader: Reader
    window: Scope | None = None
    accept: bool = False
    names: Mapping[Path, str] = field(default_factory=dict)
    originals: Originals = field(default_factory=Originals)
    others: Counter[str] = field(default_factory=Counter)
    read: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What a replay did, and the records that it left out, by the reason."""

    report: Report
    others: Counter[str]


def archived_runs(files: Iterable[Path], spider: ListingSpider) -> list[ArchivedRun]:
    """The runs that archive files hold, oldest first; at last the files from elsewhere.

    A file of ours that lost its beginning still has its run's name, and lies in its source's folder.
    """
    ours: dict[str, ArchivedRun] = {}
    others: list[Path] = []
    for path in dict.fromkeys(files):
        run = read_run(path)
        started = run_started(run_of(path))
        if run is None and started and path.absolute().parts[-3:-1] == ("archive", spider.name):
            run = Run(run_id=run_of(path), source=spider.name, started=started, hosts=spider.hosts)
        if run is None:
            others.append(path)
        else:
            before = ours[run.run_id].files if run.run_id in ours else ()
            ours[run.run_id] = ArchivedRun(run=run, files=(*before, path))
    found = [ours[run_id] for run_id in sorted(ours)]
    return [*found, ArchivedRun(run=None, files=tuple(others))] if others else found


def read_archived_run(
    dataset: Dataset,
    spider: ListingSpider,
    settings: BaseSettings,
    archived: ArchivedRun,
    reading: Reading,
    take: Callable[[Run, Sequence[Sighting]], object] | None = None,
) -> list[ReadRun]:
    """Read the listing pages in archive files as ``spider`` reads them today.

    ``take`` is given the sightings of each page, where nothing that is read later can change them.

    A run of ours comes back as one run, files from elsewhere as one for each time at which pages were
    fetched.  Damaged records and pages that cannot be read are named in the course's failures; pages
    that were empty already when ``dataset`` first had them are not, nor what is no listing in other
    people's archives.
    """
    run = archived.run
    empty = ledger.empty_pages(dataset, run.run_id) if run else frozenset()
    decoder = _decoder(settings)
    seen: list[PageSeen] = []
    failures: list[Failure] = []
    sightings: list[Sighting] = []
    findings: list[Finding] = []
    dates: dict[str, ArticleDate] = {}
    followed: set[str] = set()
    moved: dict[str, str] = {}  # where a redirect led, and what had been asked for
    ours = run is not None and bool(run.scope.start_urls)
    at_once = ours and not any(map(_holds_articles, archived.files))
    for path in archived.files:
        name = f"archive/{run.source}/{path.name}" if run else reading.names.get(path, str(path))
        answers = read_archive(path, reading.originals, reading.others, marked=run is not None)
        for answer in answers:
            if isinstance(answer, Answer) and answer.listing and 300 <= answer.status < 400:
                told = dict(answer.headers).get("location", "")
                with suppress(ValueError):
                    moved[urljoin(answer.url, told)] = moved.get(answer.url, answer.url)
            if isinstance(answer, Damage):
                reason = f"at byte {answer.offset}: {answer.reason}"
                failures.append(Failure(url=str(path), reason=reason, fault=Fault.DATA))
                continue
            if ours and answer.article_of and answer.status == 200 and not answer.truncated:
                dates |= _article_date(spider, answer, decoder)
                continue
            if other := _unread(answer, run, spider, reading, followed):
                reading.others[other] += 1
                continue
            reading.read.add(answer.record_id)
            evidence = Evidence(
                run.run_id if run else "",
                name,
                answer.record_id,
                answer.fetched_at,
                answer.original.fetched_at,
                moved.get(answer.url) if ours else None,
            )
            try:
                page = _page(answer, decoder)
            except Exception as error:  # whatever a body that is broken makes of its decoder
                failures.append(Failure(url=answer.url, reason=f"its body: {_said(error)}"))
                continue
            try:
                scope = run.scope if run else Scope()
                if reading.window is not None:
                    scope = replace(reading.window, accept=scope.accept)
                scope = replace(scope, accept=scope.accept or reading.accept)
                look = spider.look(
                    page, evidence, scope, reading.reader if ours else Reader(spider)
                )
            except Exception as error:
                failures.append(Failure(url=answer.url, reason=_said(error), fault=Fault.BUG))
                continue
            if look.failure is not None and run is None:
                reading.others["no listing"] += 1
                continue
            seen.append(look.seen)
            if take and at_once and run:
                if not is_held(look.findings):
                    take(run, look.sightings)
            else:
                sightings += look.sightings
            findings += look.findings if ours else ()
            followed.add(look.seen.next_url or "")
            if look.failure is not None and answer.record_id not in empty:
                failures.append(look.failure)
    course = Course(pages=tuple(seen), failures=tuple(failures), findings=tuple(findings))
    if ours:
        course = replace(course, habits=reading.reader.finish())
    if run is None:
        return list(_runs_from_elsewhere(spider, course, sightings))
    stops = [Stop(start_url=url, reason=_DIED, whole=False) for url in run.scope.start_urls]
    seen_then = list(dated(sightings, dates))
    return [ReadRun(run=run, course=replace(course, stops=tuple(stops)), sightings=seen_then)]


def _holds_articles(path: Path) -> bool:
    """Whether an archive file of ours has more than listing pages: dates of their entries, perhaps."""
    return any(
        line.status == 200 and not line.listing and urlsplit(line.url).path != "/robots.txt"
        for line in lines_of(path)
    )


def _article_date(
    spider: ListingSpider, answer: Answer, decoder: HttpCompressionMiddleware
) -> dict[str, ArticleDate]:
    """The date that an entry's own page gives, by the entry's address; a live run reads it so, too."""
    assert answer.article_of is not None
    try:
        page = _page(answer, decoder)
    except (OSError, IgnoreRequest):
        return {}
    found = spider.date_of(page, answer.article_of, answer.record_id)
    return {found.url: found} if found else {}


def _runs_from_elsewhere(
    spider: ListingSpider, course: Course, sightings: Sequence[Sighting]
) -> Iterator[ReadRun]:
    """Pages that were fetched soon after one another were one run; damage belongs to the first."""
    pages = sorted(course.pages, key=lambda page: page.fetched_at)
    by_page: dict[str, list[Sighting]] = defaultdict(list)
    for sighting in sightings:
        by_page[sighting.warc_record_id].append(sighting)
    groups: list[list[PageSeen]] = []
    for page in pages:
        if groups and page.fetched_at - groups[-1][-1].fetched_at <= _ONE_RUN:
            groups[-1].append(page)
        else:
            groups.append([page])
    failures = course.failures
    for group in groups or [[]]:
        at = group[0].fetched_at if group else datetime.now(UTC)
        run = replace(capture_run(spider.name, at), hosts=spider.hosts)
        shown = [replace(s, run_id=run.run_id) for p in group for s in by_page[p.warc_record_id]]
        yield ReadRun(
            run=run, course=Course(pages=tuple(group), failures=failures), sightings=shown
        )
        failures = ()


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
    accept: bool = False,
    dry_run: bool = False,
) -> Replayed:
    """Publish what a source's archive files hold into ``dataset``, oldest run first, as one run.

    ``archives`` gives each file the name that it goes by in rows, if it is from elsewhere.

    A window given here takes the place of the windows that the runs were asked for.  ``rebuild`` says
    that these are all archive files of the source; if they can be read whole, rows are made anew, with
    ``anyway`` in any case, and from damaged tables only what can be read is kept.  ``accept`` publishes
    what was held, too.  A ``dry_run`` only
    says what would change.
    """
    window = Scope(since=since, until=until) if since or until else None
    gc.set_threshold(50_000, 20, 50)  # many entries, which live to the end, and few cycles
    with ExitStack() as held:
        if not dry_run or dataset.root.is_dir():
            held.enter_context(dataset.lock(spider.name))
        archived = archived_runs(archives, spider)
        earliest = next((each.run.run_id for each in archived if each.run), "")
        reader = reader_of(dataset, spider, settings, earliest)
        reading = Reading(reader=reader, window=window, accept=accept, names=archives)
        now = datetime.now(UTC)
        run = Run(
            run_id=next_run_id(spider.name, now, ledger.run_ids(dataset, spider.name)),
            source=spider.name,
            started=now,
            scope=window or Scope(),
            mode="replay",
        )
        # Rows can be made anew only from all that the archive holds.
        most = None if rebuild or anyway else SLICE
        publication = Publication(dataset, run, replayed=True, dry_run=dry_run, most=most)
        runs: list[ReadRun] = []
        for each in archived:
            for found in read_archived_run(
                dataset, spider, settings, each, reading, publication.take
            ):
                runs.append(_published(publication, found))
        course = Course(
            pages=tuple(page for r in runs for page in r.course.pages),
            failures=tuple(failure for r in runs for failure in r.course.failures),
            findings=tuple(_news(dataset, runs)),
            habits=reader.finish()
            if rebuild
            else ledger.habits_before(dataset, spider.name, run.run_id),
        )
        report = publication.finish(
            course, rebuild=anyway or (rebuild and not course.failures), repair=anyway
        )
    return Replayed(report=report, others=reading.others)


def _published(publication: Publication, found: ReadRun) -> ReadRun:
    """Give a run that was read to a publication; what is left of it when its sightings are there."""
    held = found.course.held_pages
    publication.take(found.run, (s for s in found.sightings if s.page_url not in held))
    publication.end(found.run.run_id, found.run, found.course)
    return replace(found, sightings=[])


def _news(dataset: Dataset, runs: Iterable[ReadRun]) -> Iterator[Finding]:
    """What was found in runs of which it is not known; an alarm that was given is not given again."""
    for read in runs:
        told = ledger.held_then(dataset, read.run.run_id) if read.course.held_pages else ()
        yield from (finding for finding in read.course.findings if finding.url not in told)


def reader_of(
    dataset: Dataset,
    spider: ListingSpider,
    settings: BaseSettings,
    run_id: str,
    recall: Recall | None = None,
) -> Reader:
    """A reader that knows what the runs before this one were shown.  Raises ``DatasetError``."""
    habits = ledger.habits_before(dataset, spider.name, run_id)
    return Reader(spider, habits, partial(_archived_page, dataset, settings), recall)


def _archived_page(dataset: Dataset, settings: BaseSettings, habit: Habit) -> Page | None:
    """The last good page of an address, if the archive still has it."""
    path = dataset.at_hand(dataset.root / habit.warc_file)
    if not path.is_file():
        return None
    line = next((n for n in lines_of(path) if n.record_id == habit.warc_record_id), None)
    for file in line.files(path) if line else ():
        dataset.at_hand(file)
    answer = answer_at(path, line.offset, habit.warc_record_id) if line else None
    try:
        return page_of(answer, settings) if answer else None
    except (OSError, IgnoreRequest):
        return None


def repair(dataset: Dataset, spider: ListingSpider, settings: BaseSettings) -> Report:
    """Make the tables of a source anew from its archive, whatever they hold; keep what can be read."""
    with dataset.lock(spider.name):
        ledger.set_damaged_aside(dataset, spider.name)
    files = dict.fromkeys(dataset.archive_files(spider.name), "")
    return replay(dataset, spider, settings, files, anyway=True).report


def unpublished(dataset: Dataset, source: str) -> list[str]:
    """The runs that have archive files and no ledger: their process died before the end."""
    runs = {run_of(path): None for path in dataset.archive_names(source)}
    return [run_id for run_id in runs if not ledger.exists(dataset, run_id)]


def recover(dataset: Dataset, spider: ListingSpider, settings: BaseSettings) -> list[Failure]:
    """Publish what dead runs of this source had fetched.  The caller holds the source's lock.

    Returns what went wrong.  A run that cannot be read because of a bug stays unpublished, and the
    next run tries again.
    """
    failures: list[Failure] = []
    for run_id in unpublished(dataset, spider.name):
        files = dataset.archive_files(spider.name, run_id)
        try:
            torn = [damage for path in files if (damage := set_torn_tail_aside(path))]
            files = [path for path in files if path.exists()]
            if not files:  # it died before it had written anything
                continue
            for path in files:
                make_index(path)
            [archived] = archived_runs(files, spider)
            reading = Reading(reader=reader_of(dataset, spider, settings, run_id))
            assert archived.run is not None
            publication = Publication(dataset, replace(archived.run, mode="recovery"))
            [found] = read_archived_run(
                dataset, spider, settings, archived, reading, publication.take
            )
            failures += (*found.course.failures, *held(found.course))
            if any(failure.fault is Fault.BUG for failure in found.course.failures):
                continue
            # What a killed run was writing; it had not been read.
            noted = [
                Failure(url=str(each.path), reason=f"torn at byte {each.offset}", fault=Fault.DATA)
                for each in torn
            ]
            course = replace(found.course, failures=(*found.course.failures, *noted))
            _published(publication, replace(found, course=course))
            publication.finish(course)
        except Exception as error:
            failures.append(Failure(url=run_id, reason=str(error), fault=_fault(error)))
    return failures


def _fault(error: Exception) -> Fault:
    if isinstance(error, Locked):
        return Fault.LATER
    if isinstance(error, OSError):
        return Fault.OUTPUT
    return Fault.DATA if isinstance(error, DatasetError) else Fault.BUG


class RecoverOnStart:
    """Scrapy extension: a run begins with what the runs before it left: pages to publish, habits."""

    def __init__(self, crawler: Crawler) -> None:
        self._crawler = crawler
        crawler.signals.connect(self._opened, signals.spider_opened)

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        return cls(crawler)

    def _opened(self, spider: ListingSpider) -> None:
        if getattr(spider, "run", None) is None:  # nothing will be published
            return
        dataset = open_dataset(self._crawler.settings["HARVESTER_OUTPUT"])
        settings = self._crawler.settings
        spider.recovery = recover(dataset, type(spider)(), settings)
        assert spider.run is not None
        try:
            recall = None
            if not spider.reads_by_hand:  # a person's hand reads what it likes
                how = f"{spider.language} {spider.timezone} {spider.hint}"
                recall = Recall(dataset.root / ".index" / "pages" / f"{spider.name}.json", how)
            spider.reader = reader_of(dataset, spider, settings, spider.run.run_id, recall)
        except DatasetError as error:  # it goes on as if it had no past, and that is said
            fault = Failure(url=spider.run.run_id, reason=str(error), fault=Fault.DATA)
            spider.recovery.append(fault)


def _decoder(settings: BaseSettings) -> HttpCompressionMiddleware:
    """Scrapy's own decompression with its size limit, so that a replay sees what the spider saw."""
    parts = SimpleNamespace(settings=settings, stats=None, signals=SignalManager())
    return HttpCompressionMiddleware.from_crawler(parts)  # type: ignore[arg-type]


def page_of(answer: Answer, settings: BaseSettings) -> Page:
    """The page that an archived answer holds, its content encoding undone as in a live run.

    Raises ``OSError`` or Scrapy's ``IgnoreRequest`` where that cannot be.
    """
    return _page(answer, _decoder(settings))


def decoded(url: str, headers: Iterable[Pair], body: bytes, settings: BaseSettings) -> bytes:
    """A body without its content encoding; raises as ``page_of``."""
    return _decoded(url, headers, body, _decoder(settings))


def _page(answer: Answer, decoder: HttpCompressionMiddleware) -> Page:
    body = _decoded(answer.url, answer.headers, answer.body, decoder)
    # What the page says of "today" was written when its body was first sent.
    at = answer.original.fetched_at
    return Page(answer.url, body, answer.status, dict(answer.headers), at)


def _decoded(
    url: str, headers: Iterable[Pair], body: bytes, decoder: HttpCompressionMiddleware
) -> bytes:
    pairs = list(headers)
    if all(name.lower() != "content-encoding" for name, _ in pairs):
        return body
    told = Headers()
    for name, value in pairs:
        told.appendlist(name, value)
    plain = decoder.process_response(Request(url), Response(url, headers=told, body=body))
    assert isinstance(plain, Response)
    return plain.body


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _unread(
    answer: Answer, run: Run | None, spider: ListingSpider, reading: Reading, followed: set[str]
) -> str | None:
    """Why an answer is not read as a page of the listing; ``None`` if it is.

    Read are the pages that a live run hands to the spider; of other people's archives those in the
    source's address space, and those that a page leads on to.
    """
    if not answer.listing:
        return "no page of the listing"
    if answer.record_id in reading.read:
        return "read already"
    if answer.truncated:
        return "cut short"
    if not 200 <= answer.status < 300:
        return f"status {answer.status}"
    if run is not None:
        return None
    if "html" not in dict(answer.headers).get("content-type", "html").lower():
        return "no HTML"
    known = {*type(spider).start_urls, *spider.scope.start_urls}
    if answer.url in followed or any(same_listing(answer.url, url) for url in known):
        return None
    return "another address"
