"""What a second worker gains: a replay of several sources with --workers 1 and with --workers 2.

    python benchmarks/workers.py [SOURCES] [PAGES] [ROUNDS]

Each source has so many archived pages, 30 entries a page; every replay makes all rows anew in an empty
folder.  ``again`` are 40 runs that show the same pages, as most pages of an archive show what is known:
reading them is most of the work.  ``new`` is one run of an eighth as many pages in which every entry is
new: most of the work is to find the stories that they tell, in the one book that all sources share, one
source after the other.
Rounds are interleaved, and ratios are of medians.  Other people's work on the machine
costs wall time and no processor time: ``busy`` is how many processors the replay had on average, and
the ratio of processor times says what a second worker costs.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.site import page

from harvester.archive.words import Exchange
from harvester.archive.writer import ArchiveWriter
from pipelines.dataset import Dataset
from pipelines.run import Run, Scope, next_run_id

START = datetime(2026, 1, 1, tzinfo=UTC)
WORKERS = (1, 2)
FORMS = {"again": (40, 1), "new": (1, 8)}  # runs a source, and the share of the pages
SOURCE = """from harvester.parsers.pattern import ListingPattern
from harvester.spider import ListingSpider

class News(ListingSpider):
    name = {name!r}
    start_urls = ["https://{name}.example.org/page/0"]
    language = "en"
    pattern = ListingPattern(
        record="article.card", title="h3", date="time", teaser=".teaser", kind=".label",
        next_page="a.next",
    )
"""


def project(root: Path, names: list[str]) -> None:
    """A Scrapy project with these sources."""
    (root / "scrapy.cfg").write_text("[settings]\ndefault = news.settings\n")
    (root / "news" / "spiders").mkdir(parents=True)
    (root / "news" / "settings.py").write_text(
        "from harvester.settings import *\nSPIDER_MODULES = ['news.spiders']\n"
    )
    (root / "news" / "spiders" / "__init__.py").touch()
    for name in names:
        (root / "news" / "spiders" / f"{name}.py").write_text(SOURCE.format(name=name))


def archive(root: Path, name: str, pages: range, runs: int) -> None:
    """So many runs of a source that read these pages."""
    for day in range(runs):
        at = START + timedelta(days=day)
        run_id = next_run_id(name, at, ())
        run = Run(run_id=run_id, source=name, started=at, scope=Scope())
        with ArchiveWriter(Dataset(root).archive_folder(name), run, {}) as writer:
            for number in pages:
                writer.append(
                    Exchange(
                        url=f"https://{name}.example.org/page/{number}",
                        method="GET",
                        request_headers=[(b"User-Agent", b"Test")],
                        status=200,
                        protocol="HTTP/1.1",
                        headers=[(b"Content-Type", b"text/html; charset=utf-8")],
                        body=page(number).encode(),
                        fetched_at=at + timedelta(seconds=number),
                        ip_address="127.0.0.1",
                        listing=True,
                    )
                )


def replay(root: Path, archived: str, workers: int) -> tuple[float, float]:
    """Wall time and processor time of one replay, all its processes together."""
    with tempfile.TemporaryDirectory() as output:
        order = ["replay", "--workers", str(workers), "--archive", archived, "--output", output]
        before, start = os.times(), time.perf_counter()
        subprocess.run(
            [Path(sys.executable).parent / "harvester", *order],
            cwd=root,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
            check=True,
        )
        wall, after = time.perf_counter() - start, os.times()
        if len(list(Path(output).glob("entries/*/*.parquet"))) < workers:
            raise SystemExit("the replay published nothing")
    used = after.children_user + after.children_system
    return wall, used - before.children_user - before.children_system


def main(sources: int = 8, pages: int = 800, rounds: int = 5) -> None:
    names = [f"news{number}" for number in range(sources)]
    took: dict[str, dict[int, list[tuple[float, float]]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        project(root, names)
        for form, (runs, share) in FORMS.items():
            took[form] = {workers: [] for workers in WORKERS}
            few = pages // share // runs
            for place, name in enumerate(names):
                archive(root / form, name, range(place * few, (place + 1) * few), runs)
        for _ in range(rounds):
            for form, by_workers in took.items():
                for workers, times in by_workers.items():
                    times.append(replay(root, form, workers))
    print(f"{sources} sources, {pages} pages each, median of {rounds} interleaved rounds")
    for form, by_workers in took.items():
        walls, used = {}, {}
        for workers, times in by_workers.items():
            walls[workers] = median(wall for wall, _ in times)
            used[workers] = median(processor for _, processor in times)
            busy = median(processor / wall for wall, processor in times)
            print(
                f"  {form:<6} --workers {workers}  {walls[workers]:6.2f} s"
                f" ({min(times)[0]:.2f} to {max(times)[0]:.2f})"
                f"  processor {used[workers]:6.2f} s  busy {busy:.2f}"
            )
        print(
            f"  {form:<6} two workers do {walls[1] / walls[2]:.2f} times as much as one,"
            f" with {used[2] / used[1]:.2f} times its processor time"
        )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
