"""From a row back to the bytes that prove it, link by link.

row and version --manifest--> their Parquet files, digest for digest
version --file and record id--> a record of the archive, by its own digests
archive file --ledger--> what was fetched, digest for digest
record --parser--> the entry, as the page said it
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from scrapy.exceptions import IgnoreRequest
from scrapy.settings import BaseSettings

from harvester.archive.index import Line
from harvester.archive.reader import answer_at, lines_of
from harvester.archive.words import Answer
from harvester.archive.writer import payload_digest
from harvester.page import Page
from harvester.replay import page_of
from harvester.spider import Evidence, ListingSpider
from pipelines import ledger
from pipelines.dataset import Dataset, run_of
from pipelines.entry import Record, Sighting, Version
from pipelines.normalize import normalize
from pipelines.run import Scope
from pipelines.table import DatasetError


@dataclass(frozen=True, slots=True)
class Link:
    """One link of the chain: whether it holds, and what it says."""

    holds: bool
    text: str


@dataclass(frozen=True, slots=True)
class Found:
    """A record of the archive: its file, its line in the index, the answer it holds, if it is good."""

    path: Path
    line: Line
    answer: Answer | None


def find(dataset: Dataset, warc_file: str, record_id: str) -> Found | None:
    """The record that proves a row; ``None`` where it is not there."""
    path = dataset.root / warc_file  # which is the file itself where that is absolute
    if not path.is_file():
        return None
    for line in lines_of(path):
        if line.record_id == record_id:
            answer = answer_at(path, line.offset)
            return Found(path, line, answer if answer and answer.record_id == record_id else None)
    return None


def prove(
    dataset: Dataset,
    row: Record,
    versions: list[Version],
    known: Mapping[str, type[ListingSpider]],
    settings: BaseSettings,
) -> Iterator[Link]:
    """Each link of the chain behind a row and all its versions, which were read from their tables.

    Whoever has read them has held every Parquet file against the manifest.
    """
    manifest = dataset.manifest_file(row.source)
    yield Link(True, f"{row.entry_id}: row and {len(versions)} versions are as {manifest} says")
    spider = known.get(row.source)
    for version in versions:
        yield from _version(dataset, version, spider, settings)


def _version(
    dataset: Dataset,
    version: Version,
    spider: type[ListingSpider] | None,
    settings: BaseSettings,
) -> Iterator[Link]:
    name = f"version {version.revision}: {version.warc_file}"
    found = find(dataset, version.warc_file, version.warc_record_id)
    if found is None:
        yield Link(False, f"{name}: there is no record {version.warc_record_id}")
        return
    yield _fetched(dataset, found.path)
    if found.answer is None:
        yield Link(False, f"{name}: the record at byte {found.line.offset} is damaged")
        return
    answer = found.answer
    if found.line.original:
        first = answer.original
        yield Link(True, f"{name}: the answer at byte {found.line.offset} repeats {first.file}")
        yield _fetched(dataset, found.path.with_name(first.file))
        name = f"version {version.revision}: {first.file}"
    holds = payload_digest(answer.body) == answer.original.payload_digest
    digest = answer.original.payload_digest
    yield Link(holds, f"{name}: the body at byte {answer.original.offset} has the digest {digest}")
    when = f"{answer.fetched_at:%Y-%m-%d %H:%M:%S} UTC"
    yield Link(True, f"{name}: {answer.url} answered it on {when}")
    if spider is None:
        yield Link(False, f"{name}: no source {version.source} reads the page any more")
        return
    try:
        page = page_of(answer, settings)
        says = _is_said(page, version, spider())
    except (OSError, IgnoreRequest) as error:
        yield Link(False, f"{name}: the page cannot be read: {error}")
        return
    yield Link(says, f"{name}: the page {'says' if says else 'does not say'} what the version does")


def _fetched(dataset: Dataset, path: Path) -> Link:
    """Whether an archive file is, to the last bit, what its run's ledger tells."""
    try:
        told = ledger.read(dataset.ledger_file(run_of(path)))
    except DatasetError as error:
        return Link(False, str(error))
    name = path.relative_to(dataset.root).as_posix() if path.is_relative_to(dataset.root) else ""
    for proof in told["archive"]:
        if proof["file"] == name:
            now = ledger.proof_of(dataset, path)
            holds = (now.sha256, now.bytes) == (proof["sha256"], proof["bytes"])
            return Link(holds, f"{name}: sha256 {proof['sha256']} in the ledger of its run")
    return Link(False, f"{path}: no ledger tells of it")


def _is_said(page: Page, version: Version, spider: ListingSpider) -> bool:
    """Whether today's reading of a page finds what a version says."""
    assert page.fetched_at is not None
    look = spider.look(page, Evidence("", "", "", page.fetched_at, page.fetched_at), Scope())
    normal = map(normalize, look.sightings)
    return any(isinstance(s, Sighting) and _same(s, version) for s in normal)


def _same(sighting: Sighting, version: Version) -> bool:
    # An entry may have got a field from another copy of it, never another value.
    pairs = [(getattr(sighting, n), getattr(version, n)) for n in ("title", "published", "teaser")]
    return any(a == b and a is not None for a, b in pairs) and all(
        a == b or a is None or b is None for a, b in pairs
    )
