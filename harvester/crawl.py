"""Run spiders in this process and say how each source fared.

Scrapy itself ends with 0 whatever happened; here every source ends in an ``Outcome`` with the exit
code that cron should see.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import partial
from pathlib import Path
from typing import Any

from scrapy.crawler import Crawler, CrawlerProcess
from scrapy.settings import Settings
from scrapy.spiderloader import SpiderLoader
from scrapy.utils.reactor import install_reactor
from twisted.python.failure import Failure as TwistedFailure

from harvester.browser import CannotRender
from harvester.paging import StopReason
from harvester.progress import Progress
from harvester.project import ProjectError, settings_module
from harvester.spider import ListingSpider
from pipelines.dataset import CannotCreate, Locked
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
    CANNOT_CREATE = 73
    IO_ERROR = 74
    TRY_LATER = 75
    CONFIG = 78


PUBLISH = "pipelines.item_pipeline.PublishPipeline"

# The gravest of several outcomes speaks for the whole command.
_GRAVITY = (
    Exit.BUG,
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


def project_settings(output: Path | None, *, verbose: bool = False) -> Settings:
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
    """The sources by name, in the order of their names."""
    loader = SpiderLoader.from_settings(settings)
    found = {name: loader.load(name) for name in sorted(loader.list())}
    return {name: cls for name, cls in found.items() if issubclass(cls, ListingSpider)}


def crawl(
    runs: Mapping[str, Mapping[str, Any]], settings: Settings, *, progress: bool
) -> list[Outcome]:
    """Crawl sources at the same time, each by itself; ``runs`` holds each one's spider arguments."""
    # A crawl makes many entries, which live to its end, and few cycles: looking for cycles after every
    # 700 new objects, as is the default, costs a tenth of it.
    gc.set_threshold(50_000, 20, 50)
    process = CrawlerProcess(settings)
    # Scrapy leaves it to the first source, which takes the others along where it cannot begin.
    install_reactor(settings["TWISTED_REACTOR"], settings["ASYNCIO_EVENT_LOOP"])
    if not settings.getbool("LOG_ENABLED"):  # else lines are made for nobody, several a page
        for name in ("scrapy", "scrapy-playwright"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
    raised: dict[str, BaseException] = {}
    crawlers: dict[str, Crawler] = {}
    with Progress(enabled=progress) as shown:
        for name, arguments in runs.items():
            crawlers[name] = process.create_crawler(name)
            shown.watch(name, crawlers[name])
            running = process.crawl(crawlers[name], **arguments)
            running.addErrback(partial(_keep, raised, name))
        process.start()
    return [_outcome(name, crawler.spider, raised.get(name)) for name, crawler in crawlers.items()]


def worst(outcomes: Sequence[Outcome]) -> Exit:
    """The exit code of a command."""
    return min((outcome.exit for outcome in outcomes), key=_GRAVITY.index, default=Exit.OK)


def gravest(failures: Sequence[Failure]) -> Exit:
    """The exit code of several failures."""
    codes = (_CODE[failure.fault] for failure in failures)
    return min(codes, key=_GRAVITY.index, default=Exit.OK)


def _keep(raised: dict[str, BaseException], name: str, failure: TwistedFailure) -> None:
    if failure.value is not None:
        raised[name] = failure.value


def _outcome(name: str, spider: Any, raised: BaseException | None) -> Outcome:
    error = raised or getattr(spider, "error", None)
    report: Report | None = getattr(spider, "report", None)
    if error is not None:
        return failed(name, error)
    if report is None:
        return Outcome(name, Exit.BUG, "the run ended without a report", None)
    return judge(name, report, getattr(spider, "recovery", ()))


def failed(name: str, error: BaseException) -> Outcome:
    """The outcome of a run that could not be published."""
    return Outcome(name, exit_of(error), _line(error), None)


def judge(name: str, report: Report, recovery: Sequence[Failure] = ()) -> Outcome:
    """The outcome of a run that was published, and of the recovery that it began with."""
    failures = (*recovery, *report.course.failures, *held(report.course))
    if failures:
        problem = _summary(failures, report)
        if report.course.is_held:
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
    if isinstance(error, (ProjectError, CannotRender)):
        return Exit.CONFIG
    if isinstance(error, DatasetError):
        return Exit.DATA
    return Exit.IO_ERROR if isinstance(error, OSError) else Exit.BUG


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
