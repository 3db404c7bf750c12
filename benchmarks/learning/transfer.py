"""A pattern learned on one page, used on another one of its site.

    HARVESTER_CORPUS=... python -m benchmarks.learning.transfer

Each page of the corpus is cut in two: one copy lacks the second half of its records, one the first.
What is learned from a half must read the whole page as the page's own pattern does.  Then the pages of
one site read each other, where both have the layout that the pattern was learned from: where its
records are found at all.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import permutations

from benchmarks.learning.truth import Example, examples, scorer
from harvester import read_listing
from harvester.parsers.listing import Listing
from harvester.parsers.pattern import ListingPattern
from harvester.parsers.records import find_records
from harvester.parsers.tree import parse

LEAST_ENTRIES = 8


def halves(html: str, pattern: ListingPattern) -> Iterator[str]:
    """The page with the first half of its records alone, and with the second."""
    for keep_first in (True, False):
        tree = parse(html.encode("utf-8", "replace"))
        records = find_records(tree, pattern)
        for number, record in enumerate(records):
            if (number < len(records) // 2) is not keep_first:
                for node in record.nodes:
                    node.decompose()
        yield tree.html or ""


def same_but_label(a: Listing, b: Listing) -> bool:
    """Whether two readings give the same entries, labels aside."""
    told = [[(e.title, e.url, e.published, e.teaser) for e in x.entries] for x in (a, b)]
    return told[0] == told[1]


def main() -> None:
    """Count the halves and the pages that are read as their own pattern reads them."""
    pages = [page for page in examples() if page.truth.get("entries")]
    own = {page.name: read_listing(page.html, page.url) for page in pages}
    good = count = 0
    for page in pages:
        whole = own[page.name]
        if whole.pattern is None or len(whole.entries) < LEAST_ENTRIES:
            continue
        for half in halves(page.html, whole.pattern):
            learned = read_listing(half, page.url).pattern
            count += 1
            if learned and same_but_label(read_listing(page.html, page.url, learned), whole):
                good += 1
            else:
                print(f"{page.name}: {learned and learned.record} for {whole.pattern.record}")
    print(f"{good} of {count} halves teach a pattern that reads the whole page alike")

    sites: dict[str, list[Example]] = defaultdict(list)
    for page in pages:
        sites[str(page.truth.get("site") or page.name).removeprefix("www.")].append(page)
    score = scorer().score_page
    good = count = 0
    for site, every in sites.items():
        for a, b in permutations(every, 2):
            pattern = own[a.name].pattern
            other = read_listing(b.html, b.url, pattern) if pattern else None
            if other is None or not other.entries:
                continue
            count += 1
            theirs, its = (score(b.truth, x.to_dict()) for x in (other, own[b.name]))
            if all((theirs[k] or 0) >= (its[k] or 0) for k in ("f1", "record", "next_url")):
                good += 1
            else:
                print(f"{site}: {b.name} is read worse by the pattern of {a.name}")
    print(f"{good} of {count} pages are read as well by another page's pattern that finds records")


if __name__ == "__main__":
    main()
