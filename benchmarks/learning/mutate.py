"""Read damaged pages: nothing may crash, take longer than five seconds or more than 300 MB.

    HARVESTER_CORPUS=... python -m benchmarks.learning.mutate [COUNT]

Every page of the corpus, COUNT mutations of them (2,000 unless told: tags dropped, doubled or left
open, cuts at any byte, wrong charsets), a million nested tags, and nothing at all.  The mutations are
the same in every run.
"""

from __future__ import annotations

import os
import random
import re
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from harvester import read_listing

SECONDS = 5.0
MEGABYTES = 300
_TAG = re.compile(rb"<[^<>]*>")
_CHARSETS = ("utf-16", "cp1251", "koi8-r", "shift_jis", "gb18030", "cp1252")


def mutated(page: bytes, chance: random.Random) -> bytes:
    """A page after one to four accidents."""
    for _ in range(chance.randint(1, 4)):
        kind = chance.choice(("drop", "double", "open", "cut", "charset", "noise", "shuffle"))
        tags = [tag.span() for tag in _TAG.finditer(page)]
        if kind == "cut":
            page = page[: chance.randrange(len(page) + 1)]
        elif kind == "charset":
            text = page.decode("utf-8", "replace")
            page = text.encode(chance.choice(_CHARSETS), "replace")
        elif kind == "noise":
            place = chance.randrange(len(page) + 1)
            page = page[:place] + chance.randbytes(chance.randint(1, 200)) + page[place:]
        elif kind == "shuffle" and len(tags) > 4:
            start, middle, stop = sorted(place for place, _ in chance.sample(tags, 3))
            page = page[:start] + page[middle:stop] + page[start:middle] + page[stop:]
        elif tags:
            share = chance.choice((0.01, 0.1, 0.5))
            page = _TAG.sub(
                lambda tag, kind=kind, share=share: _hurt(tag[0], kind, share, chance), page
            )
    return page


def _hurt(tag: bytes, kind: str, share: float, chance: random.Random) -> bytes:
    if chance.random() > share:
        return tag
    if kind == "double":
        return tag * 2
    return tag if kind == "open" and not tag.startswith(b"</") else b""


def odd_pages() -> Iterator[tuple[str, bytes]]:
    """Pages that nobody writes."""
    million = 1_000_000
    yield "nothing", b""
    yield "a million nested divisions", b"<div>" * million
    yield "a million nested tags of four kinds", b"<div><ul><li><b>" * (million // 4)
    yield "a million open links", b"<a href=/x>" * million
    yield "a million list items", b"<ul>" + b"<li><a href=/x>y</a>" * (million // 4) + b"</ul>"
    yield "a million cells", b"<table>" + b"<tr><td>x<td><a href=/y>z</a>" * (million // 4)
    yield "one long text", b"<p>" + b"word " * million
    yield (
        "a thousand classes",
        b"".join(
            b"<div class='%s'><a href='/%d'>title number %d</a></div>"
            % (b" ".join(b"c%d" % m for m in range(50)), n, n)
            for n in range(2000)
        ),
    )


def main() -> int:
    """Read them all; the exit code says whether all went well."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    folders = Path(os.environ["HARVESTER_CORPUS"])
    pages = [(p.stem, p.read_bytes()) for p in sorted(folders.glob("*/pages/*.html"))]
    chance = random.Random(2011)
    failures = 0
    slowest: list[tuple[float, str]] = []

    def read(name: str, page: bytes) -> None:
        nonlocal failures
        start = time.perf_counter()
        try:
            read_listing(page, "https://example.org/news/")
        except Exception as error:
            failures += 1
            print(f"{name}: {type(error).__name__}: {error}")
        slowest.append((time.perf_counter() - start, name))

    for name, page in odd_pages():
        read(name, page)
    for name, page in pages:
        read(name, page)
    for number in range(count):
        name, page = pages[chance.randrange(len(pages))]
        read(f"{name}, mutation {number}", mutated(page, chance))
    slowest.sort(reverse=True)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    for seconds, name in slowest[:8]:
        print(f"{seconds:6.2f} s  {name}")
    print(f"{len(slowest)} pages, {failures} crashes, {memory:.0f} MB at most")
    return int(bool(failures) or slowest[0][0] > SECONDS or memory > MEGABYTES)


if __name__ == "__main__":
    sys.exit(main())
