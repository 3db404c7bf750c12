"""What a data set is made of, how each piece is checked, and how it is made good.

Sources first, with and without a spider, then what belongs to all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial

from scrapy.settings import BaseSettings

from harvester.archive.inspection import check_index
from harvester.archive.reader import make_index
from harvester.demo import check_note, write_note
from harvester.replay import repair
from harvester.spider import ListingSpider
from pipelines.check import Finding, check, check_stories, check_strays
from pipelines.dataset import CannotCreate, Dataset
from pipelines.storybook import ALL, Storybook
from pipelines.upsert import retell


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of a data set: ``look`` finds what is wrong, ``mend`` makes it good and says how.

    ``mend`` is ``None`` where only a person can.
    """

    name: str
    look: Callable[[], list[Finding]]
    mend: Callable[[Sequence[Finding]], str] | None = None


def pieces(
    dataset: Dataset,
    names: Sequence[str],
    known: Mapping[str, type[ListingSpider]],
    settings: BaseSettings,
) -> Iterator[Piece]:
    """The pieces of a data set; only those of some sources where ``names`` are given."""
    for source in names or sorted({*known, *dataset.everyone()}):
        spider = known.get(source)
        mend = partial(_rebuild, dataset, spider, settings) if spider else None
        yield Piece(source, partial(_look, dataset, source), mend)
    if not names:
        yield Piece("output", lambda: list(check_strays(dataset)))
        yield Piece("demo", lambda: list(check_note(dataset.root)), partial(_note, dataset))
    yield Piece("stories", partial(_look_at_stories, dataset), partial(_tell_anew, dataset))


def _look(dataset: Dataset, source: str) -> list[Finding]:
    with ExitStack() as held:
        with suppress(CannotCreate):  # a copy that cannot be written can still be checked
            held.enter_context(dataset.lock(source))
        found = list(check(dataset, source))
        for path in dataset.archive_files(source):
            found += [Finding(each.path, each.reason) for each in check_index(path)]
        return found


def _rebuild(
    dataset: Dataset,
    spider: type[ListingSpider],
    settings: BaseSettings,
    findings: Sequence[Finding],
) -> str:
    """Make indices anew, and tables where they or ledgers are damaged; the archive is what it is."""
    archive = dataset.archive_folder(spider.name)
    for path in dataset.archive_files(spider.name):
        if any(check_index(path)):
            make_index(path)
    if all(archive in finding.path.parents for finding in findings):
        return "its indices are good; what was fetched cannot be repaired, its rows are left as they are"
    report = repair(dataset, spider(), settings)
    return f"rebuilt, {report.rows} rows"


def _look_at_stories(dataset: Dataset) -> list[Finding]:
    with ExitStack() as held:
        with suppress(CannotCreate):
            held.enter_context(Storybook(dataset).own.lock(ALL, wait=True))
        return list(check_stories(dataset))


def _tell_anew(dataset: Dataset, _: Sequence[Finding]) -> str:
    book = Storybook(dataset)
    with book.own.lock(ALL, wait=True):
        book.discard()
    retell(dataset, dataset.sources())
    return "told anew"


def _note(dataset: Dataset, _: Sequence[Finding]) -> str:
    write_note(dataset.root)
    return "written anew"
