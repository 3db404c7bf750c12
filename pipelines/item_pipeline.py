"""The Scrapy item pipeline: collects a crawl's entries and publishes them when it ends.

It opens a run before the first request (lock, run id, what is known already) and closes it after the
last.  It does not import Scrapy: a pipeline is a class with three methods.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Self

from pipelines import ledger
from pipelines.articles import dated
from pipelines.dataset import Dataset, open_dataset
from pipelines.dedupe import Decision, Judge, Verdict
from pipelines.entry import ArticleDate, Batch, Sighting
from pipelines.known import ENTRIES, Known
from pipelines.normalize import normalize
from pipelines.publish import Publication
from pipelines.run import Run, next_run_id


class PublishPipeline:
    """One run of one source.  Items that are no sightings pass through untouched."""

    def __init__(self, crawler: Any) -> None:
        self._crawler = crawler
        self._dataset = open_dataset(crawler.settings["HARVESTER_OUTPUT"])
        self._publication: Publication | None = None
        self._undated: list[Sighting] = []  # until the articles have been read, which may date them
        self._dates: dict[str, ArticleDate] = {}
        self._held = ExitStack()
        self._run: Run | None = None

    @classmethod
    def from_crawler(cls, crawler: Any) -> Self:
        return cls(crawler)

    def open_spider(self) -> None:
        """Take the source's lock and give the spider its run.  Raises before anything is fetched."""
        spider = self._crawler.spider
        if not hasattr(spider, "scope"):  # no source, but a spider with another errand
            return
        dataset, source = self._dataset, spider.name
        self._held.enter_context(dataset.lock(source))
        now = datetime.now(UTC)
        archived = (
            path.name.partition(".")[0] for path in dataset.archive_folder(source).glob("*")
        )
        taken = {*archived, *ledger.run_ids(dataset, source)}
        self._run = Run(
            run_id=next_run_id(source, now, taken),
            source=source,
            started=now,
            hosts=spider.hosts,
            scope=spider.scope,
        )
        spider.run = self._run
        self._publication = Publication(dataset, self._run)
        spider.memory = self._memory = _Memory(dataset, self._run)

    def process_item(self, item: Any) -> Any:
        """Keep what was seen for the publish; publish a part of it, where it has become much."""
        if isinstance(item, Sighting):
            self._take((item,))
        elif isinstance(item, Batch):
            self._take(item.sightings)
        elif isinstance(item, ArticleDate):
            self._dates[item.url] = item
        return item

    def _take(self, sightings: Sequence[Sighting]) -> None:
        spider = self._crawler.spider
        if self._publication is None or self._run is None or spider.error is not None:
            return
        if spider.article_dates:
            self._undated += sightings
            return
        try:
            if self._publication.take(self._run, sightings):
                self._memory.forget_rows()
        except Exception as error:  # all is archived; the next run publishes it
            spider.error = error

    def close_spider(self) -> None:
        """Publish; the report, or the error that prevented it, is left with the spider."""
        if self._run is None or self._publication is None:  # no source, locked, not writable
            return
        spider = self._crawler.spider
        with self._held:
            try:
                course = spider.finish()
                if spider.error is not None:
                    raise spider.error
                self._publication.take(self._run, dated(self._undated, self._dates))
                self._publication.end(self._run.run_id, self._run, course)
                spider.report = self._publication.finish(course)
            except Exception as error:
                spider.error = error
                raise


class _Memory:
    """What the data set remembers of a source, looked up when it is asked."""

    def __init__(self, dataset: Dataset, run: Run) -> None:
        self._dataset = dataset
        self._run = run
        self._judge = Judge((), run.hosts)
        self._whole: dict[str, bool] = {}

    def forget_rows(self) -> None:
        """The tables have changed; what was read of them lies elsewhere now."""
        self._judge = Judge((), self._run.hosts)
        self.__dict__.pop("_known", None)

    @cached_property
    def _known(self) -> Known:
        """The rows as they are when the first page comes: recovery may have added to them by then."""
        return Known(self._dataset.stored(ENTRIES, self._run.source))

    def read_whole(self, start_url: str) -> bool:
        """Whether the last run from this address left nothing unread."""
        if start_url not in self._whole:
            source = self._run.source
            self._whole[start_url] = ledger.last_read_whole(self._dataset, source, start_url)
        return self._whole[start_url]

    def news(self, page: Sequence[Sighting]) -> frozenset[int]:
        """The positions on a page, in the order of reading, of what would change the data set."""
        normal = [n for s in page if isinstance(n := normalize(s), Sighting)]
        self._judge.know(self._known.look_up(normal))
        return frozenset(
            d.sighting.position
            for d in self._judge.page(normal)
            if isinstance(d, Decision) and d.verdict in (Verdict.NEW, Verdict.REVISED)
        )
