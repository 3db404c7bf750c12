"""The data set in one output folder: tables that every reader loads without a further word.

Readers choke on foreign files, so what belongs to the writer lies beside the table folders.

    output/
      entries/source=<name>/part-*.parquet     one row for each distinct entry
      revisions/source=<name>/part-*.parquet   every version that an entry ever had
      manifests/<name>.json                    what these folders hold, with a digest of each file
      runs/<run>.json                          one ledger for each run
      archive/<source>/<run>.warc.gz           every answer as it came, beside it .cdxj, its index (written by harvester)
      .lock/<source>  .staging/<source>/  .index/

The same may lie in an object store (``remote.py``); ``open_dataset`` is the door to both.
A commit of one source changes its tables, its manifest and its ledgers together (``commit.py``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Generic, Self, TypeVar

from filelock import FileLock, Timeout

from pipelines.commit import Staging, staging
from pipelines.entry import PARTITION, Record, Version, row_order, version_order
from pipelines.known import ENTRIES, REVISIONS
from pipelines.run import SOURCE_NAME
from pipelines.sealed import Sealed, unseal
from pipelines.table import (
    CONTRACT_VERSION,
    Damaged,
    DatasetError,
    Part,
    Place,
    Stored,
    Table,
    key,
    salvage,
)
from pipelines.version import VERSION

if TYPE_CHECKING:
    import pandas as pd

Row = TypeVar("Row")

ARCHIVE_SUFFIX: Final = ".warc.gz"
_A_MOMENT: Final = 1.0  # seconds: what a run of another source takes to tell a story here
TABLES: Final[tuple[Table[Any], ...]] = (REVISIONS, ENTRIES)


class Locked(DatasetError):
    """Another process is working on this source."""


class CannotCreate(DatasetError):
    """The output cannot be written."""


class Overtaken(Locked):
    """Another process has taken this source over, and may have changed it."""


class NotInstalled(DatasetError):
    """A library that only some outputs need is missing."""


class Unreachable(DatasetError, OSError):
    """An output on another machine does not answer, or only with errors."""

    def __str__(self) -> str:
        return f"{self.filename}: {self.strerror}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What the tables of a source hold.  ``run_id``: the run that changed them last."""

    source: str
    contract: str = CONTRACT_VERSION
    version: str = VERSION
    run_id: str = ""
    tables: Mapping[str, tuple[Part, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Change(Generic[Row]):
    """What a commit changes in one table of a source: rows by their places, and rows to add.

    Where ``stored`` is empty, the table holds the new rows alone afterwards.
    """

    stored: Stored[Row]
    changed: Mapping[Place, Row] = field(default_factory=dict)
    new: Sequence[Row] = ()

    def __bool__(self) -> bool:
        return bool(self.changed or self.new)

    def stage(self, stage: Staging) -> tuple[Part, ...]:
        """Prepare the table as it is to be; its parts."""
        return self.stored.stage(stage, self.changed, self.new)


@dataclass(frozen=True, slots=True)
class Dataset:
    """The data set in one output folder."""

    root: Path

    def __str__(self) -> str:
        """Where it is, as its user says it."""
        return str(self.root)

    def within(self, folder: str) -> Dataset:
        """The data set in a folder of this one."""
        return Dataset(self.root / folder)

    def refreshed(self, *, anew: bool = False) -> Self:
        """The same, to be read as it is now; ``anew``: every byte of it."""
        return self

    def named(self, text: object) -> str:
        """A message about its files, with their places as its user says them."""
        return str(text)

    def ledger_file(self, run_id: str) -> Path:
        """Where the ledger of a run lies."""
        return self.root / ledger_name(run_id)

    def archive_folder(self, source: str) -> Path:
        """Where the archive of one source lies."""
        return self.root / "archive" / _checked(source)

    def archive_files(self, source: str, run_id: str = "*") -> list[Path]:
        """The archive files of one source, or those of one run, in the order of writing."""
        folder = self.archive_folder(source)
        found = [
            *folder.glob(f"{run_id}{ARCHIVE_SUFFIX}"),
            *folder.glob(f"{run_id}.[0-9]*{ARCHIVE_SUFFIX}"),
        ]
        return sorted(set(found), key=written_order)

    def archive_names(self, source: str) -> list[Path]:
        """The archive files of one source by their names; one may lie elsewhere until it is ``at_hand``."""
        return self.archive_files(source)

    def at_hand(self, path: Path) -> Path:
        """A file of the archive, on this disk from now on if it is anywhere."""
        return path

    def manifest_file(self, source: str) -> Path:
        """Where the manifest of one source lies."""
        return self.root / _manifest_name(source)

    @contextmanager
    def lock(self, source: str, *, wait: bool = False) -> Iterator[None]:
        """Hold the source, be sure that its output can be written, and end what a dead run began.

        The lock is the kernel's: it goes with its process, however that ends.  Raises ``Locked`` when
        another process still has it after a moment, unless told to ``wait``.
        """
        with self._held(source, -1 if wait else _A_MOMENT):
            yield

    @contextmanager
    def _held(self, source: str, seconds: float) -> Iterator[None]:
        try:
            folder = self.root / ".lock"
            folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(folder / _checked(source), timeout=seconds)
            lock.acquire()
        except Timeout:
            raise Locked(f"{source}: another process is working on it in {self}") from None
        except OSError as error:
            raise CannotCreate(f"cannot write to {self.root}: {error.strerror}") from error
        try:
            Staging(self.root, source).settle()
            yield
        finally:
            lock.release()

    def sources(self) -> list[str]:
        """The sources that have rows."""
        prefix = f"{PARTITION.name}="
        folders = sorted((self.root / ENTRIES.name).glob(prefix + "*"))
        return [folder.name.removeprefix(prefix) for folder in folders]

    def everyone(self) -> list[str]:
        """The sources that anything here belongs to, whether they still exist or not."""
        folders = [path for table in TABLES for path in (self.root / table.name).glob("*=*")]
        found = {path.name.partition("=")[2] for path in folders}
        found |= {path.name for path in (self.root / "archive").glob("*")}
        found |= {path.stem for path in (self.root / "manifests").glob("*.json")}
        found |= {path.stem.partition("-")[2] for path in (self.root / "runs").glob("*.json")}
        return sorted(filter(SOURCE_NAME.fullmatch, found))

    def manifest(self, source: str) -> Manifest:
        """What a source's tables hold; an empty one before its first run.  Raises ``Damaged``."""
        path = self.manifest_file(source)
        try:
            return _manifest(path.read_bytes(), source)
        except FileNotFoundError:
            if (self.root / ENTRIES.folder(source)).exists():
                reason = f"is missing; `harvester check --repair {source}` makes it anew"
                raise Damaged(f"{path}: {reason}") from None
            return Manifest(source=source)
        except (ValueError, KeyError, TypeError) as error:
            reason = f"{error}; `harvester check --repair {source}` makes it anew"
            raise Damaged(f"{path}: {reason}") from error

    def stored(self, table: Table[Row], source: str) -> Stored[Row]:
        """The rows of one source in one table.  Raises ``Damaged``."""
        parts = self.manifest(source).tables.get(table.name, ())
        return Stored(self.root, table, source, parts)

    def records(self, source: str) -> list[Record]:
        """All rows of one source, in the order of their first sighting.  Raises ``Damaged``."""
        return sorted(self.stored(ENTRIES, source).all(), key=row_order)

    def versions(self, source: str) -> list[Version]:
        """All versions of the entries of one source.  Raises ``Damaged``."""
        return sorted(self.stored(REVISIONS, source).all(), key=version_order)

    def salvage(self, table: Table[Row], source: str) -> list[Row]:
        """The rows of a table that can still be trusted, whatever its manifest says."""
        return salvage(self.root / table.folder(source), table, source)

    def commit(
        self,
        source: str,
        changes: Sequence[Change[Any]],
        run_id: str,
        files: Mapping[str, bytes | Iterable[bytes]],
        *,
        last: bool = True,
    ) -> None:
        """Change the tables of a source and write some files (ledgers), all or nothing.

        The caller holds the lock.  ``last``: the run has no more to change.
        """
        if not files and not any(changes):
            return
        tables: dict[str, tuple[Part, ...]] = {}
        with staging(self.root, source) as stage:
            for name, data in files.items():
                stage.file(name, data)
            if any(changes):
                for change in changes:
                    tables[change.stored.table.name] = change.stage(stage)
                manifest = Manifest(source=source, run_id=run_id, tables=tables)
                stage.file(_manifest_name(source), Sealed(asdict(manifest)))
        for change in changes if tables else ():
            change.stored.sweep(tables[change.stored.table.name])

    def entry(self, entry_id: str) -> Record | None:
        """The row of one entry; ``None`` when it is not known."""
        for source in self.sources():
            for row in self.stored(ENTRIES, source).find([key("id", entry_id)]).values():
                if row.entry_id == entry_id:
                    return row
        return None

    def versions_of(self, entry_id: str) -> list[Version]:
        """All versions of one entry, the first one first; none when it is not known."""
        found: list[Version] = []
        for source in self.sources():
            rows = self.stored(REVISIONS, source).find([key("id", entry_id)]).values()
            found += [row for row in rows if row.entry_id == entry_id]
        return sorted(found, key=version_order)

    def read(self, table: str = ENTRIES.name, new_since: datetime | None = None) -> pd.DataFrame:
        """A whole table as a pandas frame, ``source`` a column like the others.

        ``new_since`` leaves out what was first seen before that moment (UTC where it has no zone).
        """
        import pandas as pd

        names = {each.name: "since" if each is REVISIONS else "first_seen" for each in TABLES}
        if table not in names:
            raise DatasetError(f"{table!r} is no table; there are {', '.join(sorted(names))}")
        folder = self.root / table
        if not folder.exists():
            place = self.named(folder)
            raise DatasetError(f"{place}: no data set here yet; run `harvester crawl` first")
        moment = pd.Timestamp(new_since) if new_since is not None else None
        if moment is not None and moment.tzinfo is None:
            moment = moment.tz_localize("UTC")
        filters = None if moment is None else [(names[table], ">=", moment)]
        frame = pd.read_parquet(folder, filters=filters)
        return frame.astype({PARTITION.name: "str"})


def open_dataset(output: str | Path) -> Dataset:
    """The data set in a folder, or at an address (``s3://bucket/prefix``); raises ``DatasetError``."""
    scheme, is_address, _ = str(output).partition("://")
    if not is_address:
        return Dataset(Path(output))
    if scheme != "s3":
        raise CannotCreate(f"{output}: a data set lies in a folder or at s3://bucket/prefix")
    from pipelines.remote import opened

    return opened(str(output))


def archive_name(run_id: str, number: int) -> str:
    """The name of an archive file of a run, which has several when they grow large."""
    return f"{run_id}{f'.{number:05}' if number else ''}{ARCHIVE_SUFFIX}"


def run_of(archive: Path) -> str:
    """The run that an archive file is named after."""
    return archive.name.partition(".")[0]


def written_order(archive: Path) -> tuple[str, int, str]:
    """What archive files are sorted by: the order of writing."""
    return run_of(archive), len(archive.name), archive.name


def ledger_name(run_id: str) -> str:
    """Where the ledger of a run lies, relative to the output folder."""
    return f"runs/{run_id}.json"


def _manifest_name(source: str) -> str:
    return f"manifests/{_checked(source)}.json"


def _manifest(data: bytes, source: str) -> Manifest:
    told = unseal(data)
    tables = {
        name: tuple(
            Part(**{**part, "newest": part["newest"] and datetime.fromisoformat(part["newest"])})
            for part in parts
        )
        for name, parts in told.pop("tables").items()
    }
    if told["source"] != source or told["contract"] != CONTRACT_VERSION:
        raise ValueError(f"it is not the manifest of {source} by version {CONTRACT_VERSION}")
    return Manifest(**told, tables=tables)


def _checked(source: str) -> str:
    """The name, if it is fit to be a folder's: a slug that no reader takes for a number."""
    if not SOURCE_NAME.fullmatch(source):
        raise DatasetError(
            f"{source!r} is no source name: it must begin with a-z and hold only a-z, 0-9, _ and -"
        )
    return source
