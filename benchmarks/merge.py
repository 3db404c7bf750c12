"""What it costs to merge 200 new entries: into a small or a large source, beside few or many others.

    python benchmarks/merge.py [ROUNDS]

A run should cost what it touches: ratios, measured by turns, should stay near 1.
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
OTHERS = (10, 1_000)
OF_OTHERS = 100  # entries of each other source
START = datetime(2026, 1, 1, tzinfo=UTC)


def sightings(run: Run, first: int, count: int) -> list[Sighting]:
    """Entries of a plain listing, by their numbers."""
    return [
        Sighting(
            title=f"Court upholds verdict number {n} against the editor of {run.source}",
            url=f"https://example.org/{run.source}/{n}-court-upholds-verdict",
            teaser=f"The judges saw no reason to change sentence {n}, handed down last autumn.",
            published=datetime(2000, 1, 1) + timedelta(hours=n),
            published_precision="minute",
            source=run.source,
            language="en",
            page_url=f"https://example.org/news/?page={position // PAGE}",
            position=position % PAGE,
            fetched_at=run.started + timedelta(seconds=position // PAGE),
            run_id=run.run_id,
            warc_file=f"archive/{run.source}/{run.run_id}.warc.gz",
            warc_record_id=f"<urn:uuid:{run.run_id}>",
        )
        for position, n in enumerate(range(first, first + count))
    ]


def merge(dataset: Dataset, number: int, first: int, count: int, source: str = "test") -> float:
    """The seconds that one run takes to be published."""
    at = START + timedelta(hours=number)
    hosts = frozenset(["example.org"])
    run = Run(run_id=next_run_id(source, at, ()), source=source, started=at, hosts=hosts)
    seen = sightings(run, first, count)
    with dataset.lock(source):
        start = time.perf_counter()
        publish(dataset, run, seen, Course())
        return time.perf_counter() - start


def compare(datasets: dict[str, tuple[Dataset, int]], rounds: int) -> None:
    """Print the medians of merging by turns, and their ratio."""
    seconds: dict[str, list[float]] = {name: [] for name in datasets}
    for number in range(1, rounds + 1):
        for name, (dataset, size) in datasets.items():
            # Later than all that there is.
            seconds[name].append(merge(dataset, 10_000 + number, size + number * NEW, NEW))
    (small, few), (large, many) = ((name, median(each)) for name, each in seconds.items())
    print(
        f"{NEW} new entries: {1000 * few:.0f} ms {small}, {1000 * many:.0f} ms {large};"
        f" ratio {many / few:.2f} (medians of {rounds})"
    )


def main() -> None:
    """Measure and print."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    with tempfile.TemporaryDirectory() as folder:
        sized = {}
        for size in SIZES:
            dataset = Dataset(Path(folder) / f"size-{size}")
            merge(dataset, 0, 0, size)
            sized[f"into {size:,}"] = (dataset, size)
        compare(sized, rounds)
        beside = {}
        for others in OTHERS:
            dataset = Dataset(Path(folder) / f"others-{others}")
            for n in range(others):
                merge(dataset, n, 0, OF_OTHERS, f"other-{n}")
            merge(dataset, others, 0, SIZES[0])
            beside[f"beside {others:,} sources"] = (dataset, SIZES[0])
        compare(beside, rounds)


if __name__ == "__main__":
    main()
