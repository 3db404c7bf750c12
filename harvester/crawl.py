"""Run spiders in this process and say how each source fared.

Scrapy itself ends with 0 whatever happened; here every source ends in an ``Outcome`` with the exit
code that cron should see.
"""

from __future__ import annotations

import gc
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from scrapy import Spider
from scrapy.crawler import Crawler, CrawlerProcess
from scrapy.settings import Settings
from scrapy.utils.reactor import install_reactor
from twisted.internet.defer import AlreadyCalledError, Deferred
from twisted.logger import LogEvent, LogLevel, eventAsText, globalLogBeginner

from harvester.browser import CannotRender
from harvester.paging import StopReason
from harvester.progress import Count, Progress, listen
from harvester.project import ProjectError, settings_module
from harvester.sources import Sources, Unusable
from harvester.spider import ListingSpider
from pipelines.dataset import CannotCreate, Locked, NotInstalled
from pipelines.identity import host_of
from pipelines.ledger import Failure, Fault, held
from pipelines.publish import Report
from pipelines.table import DatasetError


class Exit(IntEnum):
    """Exit codes, after sysexits.h."""

    OK = 0
    USAGE = 64
    DATA = 65
    UNAVAILABLE = 69
    BUG = 70
    OS_ERROR = 71
    CANNOT_CREATE = 73
    IO_ERROR = 74
    TRY_LATER = 75
    CONFIG = 78


PUBLISH = "pipelines.item_pipeline.PublishPipeline"

# The gravest of several outcomes speaks for the whole command.
_GRAVITY = (
    Exit.BUG,
    Exit.OS_ERROR,
    Exit.IO_ERROR,
    Exit.CANNOT_CREATE,
    Exit.DATA,
    Exit.CONFIG,
    Exit.UNAVAILABLE,
    Exit.TRY_LATER,
    Exit.OK,
)


_CODE = {
    Fault.BUG: Exit.BUG,
    Fault.OUTPUT: Exit.IO_ERROR,
    Fault.DATA: Exit.DATA,
    Fault.SOURCE: Exit.UNAVAILABLE,
    Fault.LATER: Exit.TRY_LATER,
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one source fared; ``problem`` is one line, ``None`` when all went well."""

    source: str
    exit: Exit
    problem: str | None
    report: Report | None


def project_settings(output: str | Path | None, *, verbose: bool = False) -> Settings:
    """Scrapy's settings of this project, with the output folder that was asked for.

    Raises ``ProjectError``.
    """
    settings = Settings()
    settings.setmodule(settings_module())
    if output is not None:
        settings.set("HARVESTER_OUTPUT", str(output), priority="cmdline")
    settings.set("LOG_ENABLED", verbose, priority="cmdline")
    alone = set(settings.getdict("ITEM_PIPELINES")) == {PUBLISH} and not settings.getdict("FEEDS")
    settings.set("HARVESTER_BATCHES", alone, priority="cmdline")
    return settings


def sources(settings: Settings) -> dict[str, type[ListingSpider]]:
    """The sources that can be crawled, by name, in the order of their names."""
    return Sources(settings).sound


class Turns:
    """Whose turn it is: sources one after the other, never two of one host at the same time."""

    def __init__(self, hosts: Mapping[str, frozenset[str]]) -> None:
        self._hosts = hosts
        self._waiting = dict.fromkeys(hosts)
        self._busy: set[str] = set()

    def __bool__(self) -> bool:
        """Whether any source still waits for its turn."""
        return bool(self._waiting)

    def take(self) -> str | None:
        """Begin the next source whose hosts are free; ``None`` where there is none."""
        name = next((n for n in self._waiting if not self._hosts[n] & self._busy), None)
        if name is not None:
            del self._waiting[name]
            self._busy |= self._hosts[name]
        return name

    def end(self, name: str) -> None:
        """A source that was taken has ended."""
        self._busy -= self._hosts[name]

    def again(self, name: str) -> None:
        """Let a source that has ended wait for another turn."""
        self._waiting[name] = None


def crawl(
    runs: Mapping[str, Mapping[str, Any]],
    settings: Settings,
    *,
    progress: bool,
    tell: Count | None = None,
) -> list[Outcome]:
    """Crawl sources, each by itself; ``runs`` holds each one's spider arguments.

    ``HARVESTER_AT_ONCE`` go on at the same time, never two of one host but
    where the host takes several requests at once (this machine).  Told to stop, it begins no
    more of them.
    """
    # A crawl makes many entries, which live to its end, and few cycles: looking for cycles after every
    # 700 new objects, as is the default, costs a tenth of it.
    gc.set_threshold(50_000, 20, 50)
    # Arrow's own pool keeps what it has freed, 40 MB of it.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    process = _Process(settings)
    at_once = settings.getint("HARVESTER_AT_ONCE")
    if not settings.getbool("LOG_ENABLED"):  # else lines are made for nobody, several a page
        for name in ("scrapy", "scrapy-playwright"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        globalLogBeginner.beginLoggingTo(
            [_tell_bugs],  # type: ignore[list-item]
            discardBuffer=True,
            redirectStandardIO=False,
        )
    # Else the first crawler does it, and if that one cannot be made, none can.
    install_reactor(settings["TWISTED_REACTOR"], settings["ASYNCIO_EVENT_LOOP"])
    turns = Turns({name: hosts_of(process.spider_loader.load(name), settings) for name in runs})
    begun: dict[str, Crawler] = {}
    outcomes: dict[str, Outcome] = {}
    with Progress(enabled=progress) as shown:

        async def one_after_another() -> None:
            while not process.stopping and (name := turns.take()):
                raised = None
                try:
                    begun[name] = process.create_crawler(name)
                    shown.watch(name, begun[name])
                    if tell:
                        listen(begun[name], tell)
                    await process.crawl(begun[name], **runs[name])
                except Exception as error:
                    raised = error
                outcomes[name] = _outcome(name, begun.pop(name, None), raised)
                turns.end(name)
                if len(outcomes) % at_once == 0:
                    gc.collect()  # a crawler that has ended holds all its entries, and is a cycle

        for _ in range(min(at_once, len(runs))):
            Deferred.fromCoroutine(one_after_another())
        process.start()
    outcomes |= {name: _outcome(name, crawler, None) for name, crawler in begun.items()}
    return [outcomes.get(name) or Outcome(name, *NOT_BEGUN) for name in runs]


def worst(outcomes: Sequence[Outcome]) -> Exit:
    """The exit code of a command."""
    return min((outcome.exit for outcome in outcomes), key=_GRAVITY.index, default=Exit.OK)


def gravest(failures: Sequence[Failure]) -> Exit:
    """The exit code of several failures."""
    codes = (_CODE[failure.fault] for failure in failures)
    return min(codes, key=_GRAVITY.index, default=Exit.OK)


class _Process(CrawlerProcess):
    """Scrapy's, which remembers that it was told to stop."""

    stopping = False

    def stop(self) -> Deferred[Any]:
        self.stopping = True
        return super().stop()


NOT_BEGUN = (Exit.TRY_LATER, "interrupted before it began", None)


# What Twisted takes for a bug and is none.  Scrapy gives an idle connection a second to close; where
# publishing takes longer, that it has closed and that the second is over are both told, one too many.
# A certificate that names no host is a failure of its source, and told as such.
_NO_BUGS = (AlreadyCalledError, "service_identity.exceptions.CertificateError")


def _tell_bugs(event: LogEvent) -> None:
    """Print what was raised somewhere in Twisted and caught by nobody."""
    known = "log_failure" in event and event["log_failure"].check(*_NO_BUGS)
    if event["log_level"] is LogLevel.critical and not known:
        print(eventAsText(event), file=sys.stderr)  # noqa: T201 a traceback has many lines


def hosts_of(spider: type[Spider], settings: Settings) -> frozenset[str]:
    """The hosts that only one source may use at a time; not those that take several requests at once."""
    slots = settings.getdict("DOWNLOAD_SLOTS")
    patient = {name for name, slot in slots.items() if slot.get("concurrency", 1) > 1}
    hosts = {host_of(url): urlsplit(url).hostname for url in spider.start_urls}
    return frozenset(host for host, name in hosts.items() if name not in patient)


def _outcome(name: str, crawler: Crawler | None, raised: Exception | None) -> Outcome:
    spider = crawler.spider if crawler else None
    if spider is None and raised is not None:  # it cannot even be made: its file is wrong
        return Outcome(name, Exit.CONFIG, _line(raised), None)
    error = raised or getattr(spider, "error", None)
    report: Report | None = getattr(spider, "report", None)
    if error is not None:
        return failed(name, error)
    if report is None:
        return Outcome(name, Exit.BUG, "the run ended without a report", None)
    # Every entry that was read stands in the decisions; nobody asks for them any more.
    return judge(name, replace(report, decisions=()), getattr(spider, "recovery", ()))


def not_crawled(source: Unusable) -> Outcome:
    """The outcome of a source that cannot be used."""
    return Outcome(source.name, Exit.CONFIG, source.reason, None)


def failed(name: str, error: BaseException) -> Outcome:
    """The outcome of a run that could not be published."""
    return Outcome(name, exit_of(error), _line(error), None)


def judge(name: str, report: Report, recovery: Sequence[Failure] = ()) -> Outcome:
    """The outcome of a run that was published, and of the recovery that it began with."""
    failures = (*recovery, *report.course.failures, *held(report.course))
    if failures:
        problem = _summary(failures, report)
        if report.course.held_pages:
            problem += f"; see `harvester sources --diff {name}`"
        return Outcome(name, gravest(failures), problem, report)
    if any(stop.reason == StopReason.INTERRUPTED.value for stop in report.course.stops):
        return Outcome(name, Exit.TRY_LATER, "interrupted; what was fetched is stored", report)
    return Outcome(name, Exit.OK, None, report)


def exit_of(error: BaseException) -> Exit:
    """The exit code that tells cron what kind of trouble an exception is."""
    if isinstance(error, Locked):
        return Exit.TRY_LATER
    if isinstance(error, CannotCreate):
        return Exit.CANNOT_CREATE
    if isinstance(error, (ProjectError, CannotRender, NotInstalled)):
        return Exit.CONFIG
    if isinstance(error, OSError):
        return Exit.IO_ERROR
    return Exit.DATA if isinstance(error, DatasetError) else Exit.BUG


def _summary(failures: Sequence[Failure], report: Report) -> str:
    first = f"{failures[0].url}: {failures[0].reason}"
    more = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
    counts = report.counts
    return f"{first}{more}; {counts.entries} entries read, {counts.new} new; ledger {report.run.run_id}"


def _line(error: BaseException) -> str:
    if isinstance(error, OSError):
        return f"{error.filename or 'output'}: {error.strerror or error}"
    plain = isinstance(error, (DatasetError, CannotRender))
    return str(error) if plain else f"{type(error).__name__}: {error}"
