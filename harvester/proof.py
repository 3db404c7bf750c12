"""From a row back to the bytes that prove it, link by link.

row and version --manifest--> their Parquet files, digest for digest
version --file and record id--> a record of the archive, by its own digests
archive file --ledger--> what was fetched, digest for digest
archive --today's reading--> the same row and versions again
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from scrapy.exceptions import IgnoreRequest
from scrapy.settings import BaseSettings

from harvester.archive.index import Line
from harvester.archive.reader import answer_at, indexed, lines_of
from harvester.archive.wacz import unpacked
from harvester.archive.words import Answer
from harvester.archive.writer import payload_digest
from harvester.reading import Evidence, Reader
from harvester.replay import page_of, replay
from harvester.spider import ListingSpider
from pipelines import ledger
from pipelines.dataset import Dataset, run_of
from pipelines.dedupe import Decision
from pipelines.entry import Record, Sighting, Version
from pipelines.normalize import normalize
from pipelines.revisions import changed_versions, version_of
from pipelines.run import Scope
from pipelines.table import DatasetError

_OF_BOTH = ("kind", "title", "published", "published_precision", "teaser", "warc_record_id")


@dataclass(frozen=True, slots=True)
class Link:
    """One link of the chain and what it says; ``holds`` is ``None`` for what cannot be looked at."""

    holds: bool | None
    text: str


@dataclass(frozen=True, slots=True)
class Found:
    """A record of the archive: its file, its line in the index, its bytes; the answer, if it is good."""

    path: Path
    line: Line
    record: bytes
    answer: Answer | None


def find(dataset: Dataset, warc_file: str, record_id: str) -> Found | None:
    """The record that proves a row; ``None`` where it is not there."""
    name, _, inner = warc_file.partition("#")  # a file in a package
    path = dataset.at_hand(dataset.root / name)  # the file itself where that is absolute
    if not path.is_file():
        return None
    with ExitStack() as held:
        files = held.enter_context(unpacked(path)) if inner else {path: ""}
        for file in files:
            if inner and file.name != inner:
                continue
            for lines in (lines_of(file), indexed(file)):  # the index may be wrong
                line = next((line for line in lines if line.record_id == record_id), None)
                for each in line.files(file) if line else ():
                    dataset.at_hand(each)
                answer = answer_at(file, line.offset, record_id) if line else None
                if line and answer:
                    break
            if line:
                with file.open("rb") as archived:
                    archived.seek(line.offset)
                    return Found(path, line, archived.read(line.length), answer)
    return None


def prove(
    dataset: Dataset,
    row: Record,
    versions: Sequence[Version],
    known: Mapping[str, type[ListingSpider]],
    settings: BaseSettings,
) -> Iterator[Link]:
    """Each link of the chain behind a row and all its versions, which were read from their tables.

    Whoever has read them has held every Parquet file against the manifest.
    """
    manifest = dataset.manifest_file(row.source)
    last = versions[-1] if versions else version_of(row, row.first_seen, row.run_id)
    same = bool(versions) and all(getattr(row, n) == getattr(last, n) for n in _OF_BOTH)
    text = f"row and {len(versions)} versions are as {manifest} says"
    yield Link(same, f"{row.entry_id}: {text if same else 'the row is not its last version'}")
    spider, again = known.get(row.source), False
    if spider is None:
        yield Link(None, f"no source {row.source} reads its archive any more")
    else:
        again = yield from _again(dataset, row, versions, spider, settings)
    for version in versions:
        reader = None if again or spider is None else spider()
        yield from _version(dataset, version, reader, settings)


def _again(
    dataset: Dataset,
    row: Record,
    versions: Sequence[Version],
    spider: type[ListingSpider],
    settings: BaseSettings,
) -> Generator[Link, None, bool]:
    """Whether the archive, read today, gives the row and its versions again; returns whether it could be asked."""
    files = dict.fromkeys(dataset.archive_files(row.source), "")
    report = replay(dataset, spider(), settings, files, rebuild=True, dry_run=True).report
    if report.course.failures:
        count = len(report.course.failures)
        yield Link(None, f"not made anew: {count} records of the archive cannot be read")
        return False
    own = [
        d for d in report.decisions if isinstance(d, Decision) and d.record.entry_id == row.entry_id
    ]
    if not own:
        yield Link(None, f"{row.entry_id}: no page in the archive shows it")
        return False
    made = changed_versions(own, {})
    told = {(v.entry_id, v.revision): v for v in versions}
    changed = {after.entry_id for _, after in report.changes}
    holds = row.entry_id not in changed and made == told
    does = "gives" if holds else "does not give"
    yield Link(holds, f"{row.entry_id}: the archive, read today, {does} this row and its versions")
    return True


def _version(
    dataset: Dataset, version: Version, reader: ListingSpider | None, settings: BaseSettings
) -> Iterator[Link]:
    """The record behind a version, and its file; with a ``reader`` also whether the page says it."""
    name = f"version {version.revision}: {version.warc_file}"
    found = find(dataset, version.warc_file, version.warc_record_id)
    if found is None:
        yield Link(False, f"{name}: there is no record {version.warc_record_id}")
        return
    yield fetched(dataset, found.path)
    if found.answer is None:
        yield Link(False, f"{name}: the record at byte {found.line.offset} is damaged")
        return
    answer = found.answer
    if found.line.original:
        first = answer.original
        yield Link(True, f"{name}: the answer at byte {found.line.offset} repeats {first.file}")
        yield fetched(dataset, found.path.with_name(first.file))
        name = f"version {version.revision}: {first.file}"
    told, digest = answer.original.payload_digest, payload_digest(answer.body)
    coded = "transfer-encoding" in dict(answer.headers)  # then it is of the body as it was sent
    holds = told == digest if told.startswith("sha1:") and not coded else None
    text = f"the body at byte {answer.original.offset} has the digest {digest}"
    other = f"; its record says {told or 'nothing of it'}" if not holds else ""
    yield Link(holds, f"{name}: {text}{other}")
    when = f"{answer.fetched_at:%Y-%m-%d %H:%M:%S} UTC"
    yield Link(True, f"{name}: {answer.url} answered it on {when}")
    if reader is not None:
        try:
            says = _is_said(answer, version, reader, settings)
        except (OSError, IgnoreRequest) as error:
            yield Link(False, f"{name}: the page cannot be read: {error}")
            return
        yield Link(
            says, f"{name}: the page {'says' if says else 'does not say'} what the version does"
        )


def fetched(dataset: Dataset, path: Path) -> Link:
    """Whether an archive file is, to the last bit, what its run's ledger tells."""
    if not path.is_relative_to(dataset.root):
        return Link(None, f"{path} is from elsewhere; no ledger tells of it")
    name = path.relative_to(dataset.root).as_posix()
    try:
        told = ledger.read(dataset.ledger_file(run_of(path)))
        now = ledger.proof_of(dataset, path)
    except (DatasetError, OSError) as error:
        return Link(False, str(error))
    for proof in told["archive"]:
        if proof["file"] == name:
            holds = (now.sha256, now.bytes) == (proof["sha256"], proof["bytes"])
            what = "is as" if holds else "is not what it was by"
            text = f"{what} the ledger of its run says: sha256 {proof['sha256']}"
            return Link(holds, f"{name}: {text}")
    return Link(False, f"{path}: no ledger tells of it")


def _is_said(
    answer: Answer, version: Version, reader: ListingSpider, settings: BaseSettings
) -> bool:
    """Whether today's reading of a page finds what a version says, as far as the page says anything."""
    page, at = page_of(answer, settings), answer.fetched_at
    evidence = Evidence("", "", "", at, answer.original.fetched_at)
    shown = map(normalize, reader.look(page, evidence, Scope(), Reader(reader)).sightings)
    return any(isinstance(s, Sighting) and _same(s, version) for s in shown)


def _same(sighting: Sighting, version: Version) -> bool:
    # An entry may have got a field, or a fuller teaser, from another copy of it.
    if sighting.title != version.title and None not in (sighting.title, version.title):
        return False
    if sighting.published != version.published and None not in (
        sighting.published,
        version.published,
    ):
        return False
    one, other = sighting.teaser or "", version.teaser or ""
    return (
        (bool(one) and one == other)
        or (bool(sighting.title) and sighting.title == version.title)
        or (bool(one) and other.startswith(one))
    )
