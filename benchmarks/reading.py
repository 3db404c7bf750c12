"""Reading a listing with a pattern, and learning one, as ratios to lexbor's parse of the same bytes.

    [HARVESTER_CORPUS=.../corpus] python benchmarks/reading.py

Made-up pages have a whole pattern; real ones, where there are any, the one that is learned from them.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

from contestants import Ours
from selectolax.lexbor import LexborHTMLParser
from site_pages import page

from harvester.page import Page
from harvester.parsers.listing import read
from harvester.parsers.pattern import ListingPattern

ROUNDS = 7
Case = tuple[Page, ListingPattern]


def seconds(work: Callable[[], object]) -> float:
    """Processor time."""
    start = time.process_time()
    work()
    return time.process_time() - start


def measure(name: str, cases: Sequence[Case], learning: int) -> None:
    """Print the ratios for some pages; the first ``learning`` of them are learned, too."""
    read_ratio, learn_ratio = [], []
    some = cases[:learning]
    for n in range(ROUNDS + 1):  # the first one warms up
        parse = seconds(lambda: [LexborHTMLParser(p.body) for p, _ in cases])
        known = seconds(lambda: [read(p, pattern, language="en") for p, pattern in cases])
        least = seconds(lambda: [LexborHTMLParser(p.body) for p, _ in some])
        learn = seconds(lambda: [read(p, language="en") for p, _ in some])
        if n:
            read_ratio.append(known / parse)
            learn_ratio.append(learn / least)
    print(
        f"{name:10} {len(cases):4} pages   with a pattern {median(read_ratio):5.2f} x the parse"
        f"   learning {median(learn_ratio):6.1f} x"
    )


def main() -> None:
    """Made-up pages, then those of the corpus."""
    assert Ours.pattern is not None
    made = [(Page("http://127.0.0.1/", page(n).encode()), Ours.pattern) for n in range(100)]
    measure("made up", made, 20)
    if corpus := os.environ.get("HARVESTER_CORPUS"):
        real = [
            (page_, listing.pattern)
            for path in sorted(Path(corpus).rglob("*.html"))
            if (page_ := Page("https://example.org/news/", path.read_bytes()))
            and (listing := read(page_)).pattern
            and listing.entries
        ]
        measure("corpus", real, 40)


if __name__ == "__main__":
    main()
