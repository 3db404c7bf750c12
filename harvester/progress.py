"""Progress on a terminal: pages and entries of each source, with their rates.  Silent elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console
from rich.progress import Progress as Bars
from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn
from scrapy import signals

from pipelines.entry import Batch

if TYPE_CHECKING:
    from scrapy.crawler import Crawler


Count = Callable[[int, int], None]  # takes the pages and the entries so far


def listen(crawler: Crawler, count: Count) -> None:
    """Have the pages and entries of a crawler counted."""
    pages = entries = 0

    def page(request: Any, **_: Any) -> None:
        nonlocal pages
        pages += "chain" in request.cb_kwargs  # not robots.txt
        count(pages, entries)

    def entry(item: Any, **_: Any) -> None:
        nonlocal entries
        entries += len(item.sightings) if isinstance(item, Batch) else 1
        count(pages, entries)

    crawler.signals.connect(page, signals.response_received, weak=False)
    crawler.signals.connect(entry, signals.item_scraped, weak=False)


class Line:
    """What is shown of one source."""

    def __init__(self, bars: Bars, name: str) -> None:
        self._bars = bars
        self._began = monotonic()
        self._task = bars.add_task(name, total=None, entries=0, pages_rate=0.0, entries_rate=0.0)

    def count(self, pages: int, entries: int) -> None:
        """Show how far it is."""
        seconds = max(monotonic() - self._began, 0.001)
        self._bars.update(
            self._task,
            completed=pages,
            entries=entries,
            pages_rate=pages / seconds,
            entries_rate=entries / seconds,
        )

    def end(self) -> None:
        """Take the line away: a terminal has fewer lines than some have sources."""
        self._bars.update(self._task, visible=False)


class Progress:
    """Listens to crawlers; a context manager."""

    def __init__(self, *, enabled: bool) -> None:
        self._bars = Bars(
            SpinnerColumn(),
            TextColumn("{task.description:<16}"),
            TextColumn("{task.completed:>6.0f} pages {task.fields[pages_rate]:>6.1f}/s"),
            TextColumn("{task.fields[entries]:>7} entries {task.fields[entries_rate]:>7.1f}/s"),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            disable=not enabled,
            transient=True,
        )

    def watch(self, name: str, crawler: Crawler) -> None:
        """Show a line for this crawler."""
        if not self._bars.disable:
            line = self.line(name)
            listen(crawler, line.count)
            crawler.signals.connect(line.end, signals.spider_closed, weak=False)

    def line(self, name: str) -> Line:
        """A line for what is counted elsewhere."""
        return Line(self._bars, name)

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bars.stop()
