"""What it costs to merge 200 new entries into a source of 1,000 entries, and into one of 100,000.

    python benchmarks/merge.py [ROUNDS]

A run should cost what it touches: the ratio of the two, measured by turns, should stay near 1.
"""

from __future__ import annotations

import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1]))

from pipelines.dataset import Dataset
from pipelines.entry import Sighting
from pipelines.ledger import Course
from pipelines.publish import publish
from pipelines.run import Run, next_run_id

NEW = 200
PAGE = 100  # entries of one listing page
SIZES = (1_000, 100_000)
START = datetime(2026, 1, 1, tzinfo=UTC)


def sightings(run: Run, first: int, count: int) -> list[Sighting]:
    """Entries of a plain listing, by their numbers."""
    return [
        Sighting(
            title=f"Court upholds verdict number {n} against the editor of a paper",
            url=f"https://example.org/news/{n}-court-upholds-verdict",
            teaser=f"The judges saw no reason to change sentence {n}, handed down last autumn.",
            published=datetime(2000, 1, 1) + timedelta(hours=n),
            published_precision="minute",
            source=run.source,
            language="en",
            page_url=f"https://example.org/news/?page={position // PAGE}",
            position=position % PAGE,
            fetched_at=run.started + timedelta(seconds=position // PAGE),
            run_id=run.run_id,
            warc_file=f"archive/test/{run.run_id}.warc.gz",
            warc_record_id=f"<urn:uuid:{run.run_id}>",
        )
        for position, n in enumerate(range(first, first + count))
    ]


def merge(dataset: Dataset, number: int, first: int, count: int) -> float:
    """The seconds that one run takes to be published."""
    at = START + timedelta(hours=number)
    hosts = frozenset(["example.org"])
    run = Run(run_id=next_run_id("test", at, ()), source="test", started=at, hosts=hosts)
    seen = sightings(run, first, count)
    with dataset.lock("test"):
        start = time.perf_counter()
        publish(dataset, run, seen, Course())
        return time.perf_counter() - start


def main() -> None:
    """Measure and print."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    with tempfile.TemporaryDirectory() as folder:
        datasets = {size: Dataset(Path(folder) / str(size)) for size in SIZES}
        for size, dataset in datasets.items():
            merge(dataset, 0, 0, size)
        seconds: dict[int, list[float]] = {size: [] for size in SIZES}
        for number in range(1, rounds + 1):
            for size, dataset in datasets.items():
                seconds[size].append(merge(dataset, number, size + number * NEW, NEW))
    small, large = (median(seconds[size]) for size in SIZES)
    print(f"{NEW} new entries: {1000 * small:.0f} ms into {SIZES[0]:,}, {1000 * large:.0f} ms into")
    print(f"{SIZES[1]:,} entries; ratio {large / small:.2f} (medians of {rounds})")


if __name__ == "__main__":
    main()
