"""Runs of two small sources, published by processes of their own, which tests kill.

    python tests/publisher.py

Reads lines "OUTPUT SOURCE:DAY" from standard input.  For each it prints the number of a new process,
which publishes the run once an empty line has come; then how that process ended, as ``subprocess``
has it.  A run that has a ledger is published already: so does recovery see it.
"""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from pipelines import ledger, table
from pipelines.dataset import Dataset, Locked, open_dataset
from pipelines.entry import Sighting
from pipelines.ledger import Course
from pipelines.publish import publish
from pipelines.run import Run, next_run_id

TEXT = (
    "the judges saw no reason to change the sentence, which was handed down last autumn in Hrodna"
)
# Day by day: the numbers of the entries that a source shows, and how often each has been edited.
# The later source shows early what the earlier one is found to have had before, when its days come.
RUNS = {
    ("early", 1): [(3, 0), (2, 0), (1, 0)],
    ("late", 9): [(5, 0), (7, 0)],
    ("early", 2): [(5, 0), (4, 0), (3, 0), (2, 1)],
    ("early", 3): [(6, 0), (5, 0), (4, 2), (3, 0), (2, 1)],
}


def put(dataset: Dataset, source: str, day: int) -> None:
    """Publish a run, if it has no ledger."""
    at = datetime(2026, 1, day, tzinfo=UTC)
    host = f"{source}.example"
    run = Run(
        run_id=next_run_id(source, at, ()), source=source, started=at, hosts=frozenset([host])
    )
    shown = [
        Sighting(
            title=f"Court number {n} upholds its verdict{', corrected' * edits}",
            url=f"https://{host}/news/{n}",
            teaser=f"In case {n} {TEXT}.",
            published=datetime(2011, 1, 1) + timedelta(days=n),
            published_precision="day",
            source=source,
            language="en",
            page_url=f"https://{host}/news/",
            position=position,
            fetched_at=at,
            run_id=run.run_id,
            warc_file=f"archive/{source}/{run.run_id}.warc.gz",
            warc_record_id=f"<urn:uuid:{day}>",
        )
        for position, (n, edits) in enumerate(RUNS[source, day])
    ]
    full, table.FULL = table.FULL, 1  # so that some files stay as they are
    try:
        with dataset.lock(source):
            if not ledger.exists(dataset, run.run_id):
                publish(dataset, run, shown, Course())
    finally:
        table.FULL = full


def main() -> None:
    """Fork a process for each line: importing takes longer than publishing."""
    for line in sys.stdin:
        output, order = line.split()
        source, _, day = order.partition(":")
        waiting, go = os.pipe()
        child = os.fork()
        if not child:
            os.read(waiting, 1)
            try:
                put(open_dataset(output), source, int(day))
            except Locked:
                os._exit(75)
            except OSError:
                os._exit(1)
            os._exit(0)
        print(child, flush=True)
        sys.stdin.readline()
        os.write(go, b"!")
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
        os.close(go)
        os.close(waiting)


if __name__ == "__main__":
    main()
