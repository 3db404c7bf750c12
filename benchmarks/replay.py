"""What it costs to read archived pages back, beside bare iteration and beside reading listings.

    python benchmarks/replay.py [PAGES] [ROUNDS]

``iterate`` is FastWARC's own pass over the file, ``read`` the reading of the same listings from memory,
``replay`` both as a replay does it, with digests verified.  The goal: replay <= 1.5 iterate + read.
"""

from __future__ import annotations

import gc
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

from fastwarc.warc import ArchiveIterator

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.site import page

from harvester.archive.reader import read_archive
from harvester.archive.words import Exchange
from harvester.archive.writer import ArchiveWriter
from harvester.crawl import project_settings
from harvester.page import Page
from harvester.parsers.pattern import ListingPattern
from harvester.reading import Evidence, Reader
from harvester.replay import Reading, archived_runs, read_archived_run
from harvester.spider import ListingSpider
from pipelines.dataset import Dataset
from pipelines.run import Run, Scope

START = datetime(2026, 1, 1, tzinfo=UTC)
DISTINCT = 50


class News(ListingSpider):
    """The pages of ``site_pages.py``."""

    name = "news"
    start_urls = ["https://example.org/page/1"]
    pattern = ListingPattern(
        record="article.card",
        title="h3",
        date="time",
        teaser=".teaser",
        kind=".label",
        next_page="a.next",
    )


def archive(root: Path, pages: int) -> Path:
    """A run of so many pages."""
    run = Run(run_id="20260101T000000Z-news", source="news", started=START, scope=Scope())
    bodies = [page(number).encode() for number in range(DISTINCT)]
    with ArchiveWriter(Dataset(root).archive_folder("news"), run, {}, largest=1 << 62) as writer:
        for number in range(pages):
            writer.append(
                Exchange(
                    url=f"https://example.org/page/{number}",
                    method="GET",
                    request_headers=[(b"User-Agent", b"Test")],
                    status=200,
                    protocol="HTTP/1.1",
                    headers=[(b"Content-Type", b"text/html; charset=utf-8")],
                    body=bodies[number % DISTINCT],
                    fetched_at=START + timedelta(seconds=number),
                    ip_address="127.0.0.1",
                    listing=True,
                )
            )
    return Dataset(root).archive_files("news")[0]


def iterate(path: Path) -> None:
    with path.open("rb") as file:
        for record in ArchiveIterator(file):
            record.reader.read()


def verify(path: Path) -> None:
    for _ in read_archive(path):
        pass


def read(pages: int) -> None:
    spider, bodies = News(), [page(number).encode() for number in range(DISTINCT)]
    for number in range(pages):
        url, at = f"https://example.org/page/{number}", START + timedelta(seconds=number)
        seen = Page(url, bodies[number % DISTINCT], 200, {"content-type": "text/html"}, at)
        spider.look(seen, Evidence("r", "f", "i", at, at), Scope(), Reader(spider))


def replay(root: Path, path: Path) -> None:
    dataset, spider, settings = Dataset(root), News(), project_settings(None)
    for archived in archived_runs([path], spider):
        read_archived_run(dataset, spider, settings, archived, Reading(reader=Reader(spider)))


def timed(work: Callable[[], None]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def main(pages: int = 2_000, rounds: int = 5) -> None:
    gc.set_threshold(50_000, 20, 50)  # as ``harvester replay`` does
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        path = archive(root, pages)
        forms = {
            "iterate": lambda: iterate(path),
            "verify": lambda: verify(path),
            "read": lambda: read(pages),
            "replay": lambda: replay(root, path),
        }
        took: dict[str, list[float]] = {name: [] for name in forms}
        for _ in range(rounds):
            for name, work in forms.items():
                took[name].append(timed(work))
        per_page = {name: median(times) / pages * 1000 for name, times in took.items()}
        for name, ms in per_page.items():
            print(f"{name:8} {ms:6.3f} ms a page")
        goal = 1.5 * per_page["iterate"] + per_page["read"]
        print(f"replay / (1.5 iterate + read) = {per_page['replay'] / goal:.2f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
