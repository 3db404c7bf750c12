"""Is the data set what was written, and does it agree with itself?  Every file is looked at, bit by bit.

Tables are held against their manifest, the manifest and the ledgers against their own digests, the
archive against the ledgers, the indices against their checksums; then rows, versions and proofs
against each other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipelines import ledger
from pipelines.dataset import TABLES, Dataset, Manifest
from pipelines.entry import PARTITION
from pipelines.run import SOURCE_NAME, run_started
from pipelines.sealed import unseal
from pipelines.stories import STORIES
from pipelines.storybook import ALL, Storybook
from pipelines.table import DatasetError, Stored, Table, index_is_whole, read_part


@dataclass(frozen=True, slots=True)
class Finding:
    """A file, and what is wrong with it."""

    path: Path
    problem: str

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}"


def check(dataset: Dataset, source: str) -> Iterator[Finding]:
    """What is wrong with what belongs to one source; nothing, if all is well."""
    yield from _ledgers(dataset, source)
    try:
        manifest = dataset.manifest(source)
    except DatasetError as error:
        yield Finding(dataset.manifest_file(source), _reason(error))
        return
    damage = list(_tables(dataset, manifest, TABLES))
    yield from damage
    if not damage:
        yield from _agreement(dataset, source, manifest)


def check_strays(dataset: Dataset) -> Iterator[Finding]:
    """What lies where the data set's files lie and belongs to no source."""
    prefix = f"{PARTITION.name}="
    for table in TABLES:
        for path in sorted((dataset.root / table.name).glob("*")):
            name = path.name.removeprefix(prefix)
            if not path.name.startswith(prefix) or not SOURCE_NAME.fullmatch(name):
                yield Finding(path, "a foreign file; readers of the folder take it for rows")
    for path in sorted((dataset.root / "manifests").glob("*")):
        if path.suffix != ".json" or not SOURCE_NAME.fullmatch(path.stem):
            yield Finding(path, "no source can have this manifest")
    for path in sorted((dataset.root / "runs").glob("*.json")):
        if run_started(path.stem) is None:
            yield Finding(path, "no run can have this ledger")


def check_stories(dataset: Dataset) -> Iterator[Finding]:
    """What is wrong with the book of stories, which belongs to all sources."""
    book = Storybook(dataset)
    for path in book.marks():
        try:
            if "manifest" not in unseal(path.read_bytes()):
                yield Finding(path, "it is no mark of a source")
        except (OSError, ValueError) as error:
            yield Finding(path, str(error))
    try:
        manifest = book.own.manifest(ALL)
    except DatasetError as error:
        yield Finding(book.own.manifest_file(ALL), _reason(error))
        return
    yield from _tables(book.own, manifest, [STORIES])


def _tables(
    dataset: Dataset, manifest: Manifest, tables: Sequence[Table[Any]]
) -> Iterator[Finding]:
    """Every file of some tables, and those that do not belong there."""
    source = manifest.source
    for table in tables:
        stored = Stored(dataset.root, table, source, manifest.tables.get(table.name, ()))
        folder = dataset.root / table.folder(source)
        listed = {part.file for part in stored.parts}
        for path in sorted(folder.iterdir() if folder.exists() else ()):
            if path.name not in listed:
                yield Finding(path, "the manifest does not know it")
        for part in stored.parts:
            try:
                read_part(stored.path(part), part, table)
            except DatasetError as error:
                yield Finding(stored.path(part), _reason(error))
            index = stored.index_path(part)
            if index.exists() and not index_is_whole(index.read_bytes()):
                yield Finding(index, "a damaged index; the next run makes it anew")


def _ledgers(dataset: Dataset, source: str) -> Iterator[Finding]:
    """Each ledger, and the archive file that it proves."""
    archives = dataset.archive_files(source)  # all on this disk from now on
    proven = set()
    for run_id in ledger.run_ids(dataset, source):
        path = dataset.ledger_file(run_id)
        try:
            told = ledger.read(path)
        except DatasetError as error:
            yield Finding(path, _reason(error))
            proven.update(dataset.archive_files(source, run_id))
            continue
        counts = dict(told["counts"])
        if counts.pop("entries") != sum(counts.values()):
            yield Finding(path, "its counts do not add up")
        for proof in told["archive"]:
            archived = dataset.root / proof["file"]
            proven.add(archived)
            if not archived.exists():
                yield Finding(archived, "the archive file is missing")
            elif asdict(ledger.proof_of(dataset, archived)) != proof:
                yield Finding(archived, "it is not what was fetched")
    for path in archives:
        if path not in proven:
            yield Finding(path, "no ledger tells of it; the next run publishes it")


def _agreement(dataset: Dataset, source: str, manifest: Manifest) -> Iterator[Finding]:
    """Rows against versions and proofs."""
    path = dataset.manifest_file(source)
    rows = dataset.records(source)
    versions = dataset.versions(source)
    for table, found in (("entries", rows), ("revisions", versions)):
        if sum(part.rows for part in manifest.tables.get(table, ())) != len(found):
            yield Finding(path, f"it counts other rows of {table} than there are")
    latest: dict[str, int] = {}
    for version in versions:
        # The first ones may have been lost for good.
        if version.revision != latest.get(version.entry_id, version.revision - 1) + 1:
            yield Finding(path, f"{version.entry_id} has no version {version.revision - 1}")
        latest[version.entry_id] = version.revision
    for row in rows:
        if latest.get(row.entry_id) != row.revision:
            yield Finding(path, f"{row.entry_id} has no version {row.revision} in revisions")
    for entry_id, uses in Counter(row.entry_id for row in rows).items():
        if uses > 1:
            yield Finding(path, f"{entry_id} has {uses} rows")
    for name in sorted({row.warc_file for row in rows} | {v.warc_file for v in versions}):
        if not (dataset.root / name).exists():
            yield Finding(dataset.root / name, "the archive file that proves rows is missing")


def _reason(error: DatasetError) -> str:
    """What an error says, without the path that it begins with."""
    return str(error).partition(": ")[2].partition(";")[0]
