"""A data set in an object store: the same tree as in a folder, worked on in a copy on this disk.

    take the lease ──► pull what is not in step ──► work in the copy, as in any folder ──► push
                       (manifest, parts, ledgers,                                           │
                        indices of the archive)          archive, parts ──► manifest ──► ledgers

A manifest is put only if the store still has the one that was pulled: that is the point of commitment.
Before it nothing is visible to who reads by manifests, after it nothing is missing but ledgers, which
the next run makes good.  Parts and archive files are never changed, so they may lie there before
anybody names them.  What the copy and the store agreed on last is noted (``_Notes``); so a copy that a
killed run left ahead is told from one that others have overtaken.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeVar
from uuid import uuid4

from pipelines.dataset import (
    ARCHIVE_SUFFIX,
    TABLES,
    CannotCreate,
    Change,
    Dataset,
    Locked,
    ledger_name,
    run_of,
    written_order,
)
from pipelines.entry import PARTITION
from pipelines.known import ENTRIES
from pipelines.objects import Lease, Objects, Refused, Seen, overtaken, server
from pipelines.run import SOURCE_NAME
from pipelines.sealed import unseal
from pipelines.table import DatasetError, Stored, Table

Row = TypeVar("Row")

_INDEX: Final = ".cdxj"  # stands beside an archive file that is complete
_OWN: Final = ("runs/*Z-{source}.json*", "archive/{source}/*")
_STORIES_OWN: Final = ("told/*",)
_SOURCE_AT: Final = f"{PARTITION.name}="


class _Notes:
    """What the copy and the store agreed on last, file by file: the object's tag, the file's mark."""

    def __init__(self, path: Path, root: Path) -> None:
        self._path = path
        self._root = root
        try:
            self._told: dict[str, list[Any]] = json.loads(path.read_bytes())
        except (OSError, ValueError):  # then nothing is known, and the store is right
            self._told = {}

    def tag(self, name: str) -> str | None:
        """The object's tag when they agreed; ``None`` if they never did, or it is gone."""
        return self._told[name][0] if name in self._told else None

    def is_clean(self, name: str) -> bool:
        """Whether the file is there as it was then."""
        return name in self._told and self._told[name][1:] == _mark(self._root / name)

    def agree(self, name: str, tag: str) -> None:
        """They agree now."""
        self._told[name] = [tag, *_mark(self._root / name)]

    def forget(self, name: str) -> None:
        self._told.pop(name, None)

    def names(self) -> list[str]:
        return list(self._told)

    def save(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        draft = self._path.with_name(f".{self._path.name}.{uuid4().hex}")
        draft.write_text(json.dumps(self._told))
        draft.replace(self._path)


@dataclass(eq=False)
class _Session:
    """What a holder of a source knows: its lease, the files that were there when it began."""

    lease: Lease
    notes: _Notes
    began_with: frozenset[str] = frozenset()


@dataclass(frozen=True, eq=False)
class RemoteDataset(Dataset):
    """The data set at an address; ``root`` is the copy.  ``own`` are the files of a source beside tables."""

    objects: Objects
    notes: Path
    own: tuple[str, ...] = _OWN
    around: RemoteDataset | None = None
    _sessions: dict[str, _Session] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.objects.address

    def named(self, text: object) -> str:
        return str(text).replace(str(self.root), self.objects.address)

    def within(self, folder: str) -> Dataset:
        return RemoteDataset(
            root=self.root / folder,
            objects=Objects(f"{self.objects.address}/{folder}"),
            notes=self.notes / folder,  # not in the folder, which may be taken away
            own=_STORIES_OWN,
            around=self,
        )

    # ------------------------------------------------------------------ who writes
    @contextmanager
    def lock(self, source: str, *, wait: bool = False) -> Iterator[None]:
        """Hold the source on this machine and in the store, and have it as the store has it.

        What a run before had committed here and not brought there yet is brought there.
        """
        with super().lock(source, wait=wait):
            lease = Lease.taken(self.objects, f".lock/{source}", self._owner(), wait=wait)
            session = self._sessions[source] = _Session(lease, self._noted(source))
            try:
                self._settle(source, session)
                session.began_with = frozenset(filter(self._is_there, self._own_files(source)))
                try:
                    yield
                except BaseException:
                    with suppress(DatasetError, OSError):  # the first error is told
                        self._leave(source, session)
                    raise
                self._leave(source, session)
            finally:
                del self._sessions[source]
                lease.give_back()

    def commit(
        self,
        source: str,
        changes: Sequence[Change[Any]],
        run_id: str,
        files: Mapping[str, bytes | Iterable[bytes]],
        *,
        last: bool = True,
    ) -> None:
        """As in a folder, then in the store.  Raises ``Overtaken`` where another was quicker.

        The store gets the rows of a run with the last of them, when their archive can come before them.
        """
        session = self._sessions[source]
        session.lease.hold()
        super().commit(source, changes, run_id, files)
        if not last:
            return
        try:
            self._push(source, session)
        except Refused:
            self._pull(source, session.notes, self._listed(source))
            raise overtaken(self.objects.address, source) from None

    # ------------------------------------------------------------------ who reads
    def refreshed(self, *, anew: bool = False) -> RemoteDataset:
        """Have everything but archive files as the store has it; ``anew`` fetches all of it again.

        A source that a run on this machine holds is left to it: then no newer one is there.
        """
        there = {
            name: seen
            for folder in ("manifests", "runs", "archive")
            for name, seen in self.objects.names(folder).items()
        }
        sources = {Path(name).stem for name in there if name.startswith("manifests/")}
        runs = (name for name in there if name.startswith("runs/"))
        sources |= {Path(name).name.partition(".")[0].partition("-")[2] for name in runs}
        sources |= {name.split("/")[1] for name in there if name.startswith("archive/")}
        for source in sorted({*filter(SOURCE_NAME.fullmatch, sources), *self.everyone()}):
            with suppress(Locked), self._held(source, 0):
                notes = self._noted(source)
                mine = {n: seen for n, seen in there.items() if self._belongs(n, source)}
                if anew:
                    self._drop(source, notes, mine)
                self._pull(source, notes, mine)
        return self

    def sources(self) -> list[str]:
        """The sources that have rows."""
        names = sorted(path.stem for path in (self.root / "manifests").glob("*.json"))
        return [name for name in names if self._has_rows(name)]

    def stored(self, table: Table[Row], source: str) -> Stored[Row]:
        """The rows of one source in one table, all of whose parts are on this disk then."""
        stored = super().stored(table, source)
        if source not in self._sessions:
            for part in stored.parts:
                self.at_hand(stored.path(part))
        return stored

    def archive_files(self, source: str, run_id: str = "*") -> list[Path]:
        """The archive files of one source, or of one run, all on this disk then."""
        names = [p for p in self.archive_names(source) if run_id in ("*", run_of(p))]
        missing = {self._name(path): path for path in names if not path.exists()}
        self.objects.fetch_all(missing)
        return [path for path in names if path.exists()]

    def archive_names(self, source: str) -> list[Path]:
        """An index stands for its archive file, which comes when it is asked for."""
        found = set(super().archive_files(source))
        for path in self.archive_folder(source).glob(f"[!.]*{_INDEX}"):
            found.add(path.with_name(path.name.removesuffix(_INDEX) + ARCHIVE_SUFFIX))
        return sorted(found, key=written_order)

    def at_hand(self, path: Path) -> Path:
        if not path.exists() and path.is_relative_to(self.root):
            self.objects.fetch(self._name(path), path)
        return path

    # ------------------------------------------------------------------ in step
    def _settle(self, source: str, session: _Session) -> None:
        """Pull, then push what a run before had begun; one that is late may still come in between."""
        there = self._listed(source)
        self._pull(source, session.notes, there)
        if self.around is not None:
            self.around._pull_manifests()
        try:
            self._push(source, session)
        except Refused:
            there = self._listed(source)
            self._pull(source, session.notes, there)
        parts = self._parts(source)
        if parts is not None and session.notes.is_clean(self._manifest(source)):
            session.lease.hold()
            strays = [n for n in there if _is_part(n, source) and n not in parts]
            self.objects.delete_all(strays)

    def _pull(self, source: str, notes: _Notes, there: Mapping[str, Seen]) -> None:
        """Bring the copy in step with what is ``there``, but for what it is ahead with."""
        name = self._manifest(source)
        seen = there.get(name)
        moved = (seen.tag if seen else None) != notes.tag(name)
        dirty = self._is_there(name) and not notes.is_clean(name)
        ahead = dirty and not moved
        if moved and dirty and seen and self._is_same(name):  # it was put, and its run died then
            notes.agree(name, seen.tag)
            moved = dirty = False
        self._pull_own(source, notes, there, drop=moved and dirty)
        if not ahead:
            self._pull_tables(source, notes, there)
        notes.save()

    def _pull_own(
        self, source: str, notes: _Notes, there: Mapping[str, Seen], *, drop: bool
    ) -> None:
        """The files beside the tables.  ``drop``: what was committed here does not count any more."""
        mine = {n: seen for n, seen in there.items() if self._is_own(n, source)}
        for name in filter(lambda n: self._is_own(n, source), notes.names()):
            if name not in mine:
                (self.root / name).unlink(missing_ok=True)
                notes.forget(name)
        if drop:
            for name in self._own_files(source):
                if name not in mine and not _is_archive(name):
                    (self.root / name).unlink()
        wanted: dict[str, Path] = {}
        for name, seen in mine.items():
            path = self.root / name
            if not path.exists():
                if not _may_wait(name, mine):
                    wanted[name] = path
            elif notes.tag(name) == seen.tag:
                continue
            elif name.endswith(ARCHIVE_SUFFIX) and path.stat().st_size == seen.size:
                notes.agree(name, seen.tag)
            elif drop or notes.tag(name) is None or notes.is_clean(name):
                wanted[name] = path
        self._fetch(wanted, notes)

    def _pull_tables(self, source: str, notes: _Notes, there: Mapping[str, Seen]) -> None:
        """The manifest, and the parts that it names, before it."""
        name = self._manifest(source)
        path, draft = self.root / name, self.root / f".{source}.manifest"
        if name not in there:
            notes.forget(name)
            path.unlink(missing_ok=True)
            parts: set[str] | None = None if self._had_rows(source) else set()
        elif notes.tag(name) == there[name].tag and notes.is_clean(name):
            parts = self._parts(source)
        else:
            tag = self.objects.fetch(name, draft)
            parts = self._parts(source, draft) if tag else set()
            self._fetch_parts(source, notes, parts, there)
            if tag:
                path.parent.mkdir(parents=True, exist_ok=True)
                draft.replace(path)
                notes.agree(name, tag)
        self._fetch_parts(source, notes, parts, there)
        if parts is not None:
            for name in (n for n in notes.names() if _is_part(n, source) and n not in parts):
                notes.forget(name)  # others may take it away
            for table in self.root.glob(f"*/{_SOURCE_AT}{source}"):
                for stale in table.iterdir():
                    if self._name(stale) not in parts:
                        stale.unlink()
                with suppress(OSError):  # it has files
                    table.rmdir()

    def _fetch_parts(
        self, source: str, notes: _Notes, parts: set[str] | None, there: Mapping[str, Seen]
    ) -> None:
        """The parts that are missing here; all that there are, where a manifest does not say which."""
        wanted = parts if parts is not None else [n for n in there if _is_part(n, source)]
        self._fetch({n: self.root / n for n in wanted if not self._is_there(n)}, notes)
        for name in wanted:  # one that a run put there and had not noted when it died
            seen = there.get(name)
            if seen and notes.tag(name) is None and _mark(self.root / name)[:1] == [seen.size]:
                notes.agree(name, seen.tag)

    def _pull_manifests(self) -> None:
        """The manifests of all sources: who tells stories must know who is there."""
        for name, seen in self.objects.names("manifests").items():
            source = Path(name).stem
            if source in self._sessions or self._noted(source).tag(name) == seen.tag:
                continue
            with suppress(Locked), self._held(source, 0):
                notes = self._noted(source)
                if notes.is_clean(name) or not self._is_there(name):
                    self._fetch({name: self.root / name}, notes)
                    notes.save()

    def _push(self, source: str, session: _Session) -> None:
        """Bring the store in step with the copy.  Raises ``Refused`` where it is not what was pulled."""
        notes, name = session.notes, self._manifest(source)
        session.lease.hold()
        self._push_own(source, session, _is_archive)
        before = {n for n in notes.names() if _is_part(n, source)}
        parts = self._parts(source)
        if parts is not None and self._is_there(name) and not notes.is_clean(name):
            # One that is there, and was written again here, was found damaged there.
            fresh = (n for n in parts if n not in before or not notes.is_clean(n))
            self._put({n: self.root / n for n in fresh}, notes)
            session.lease.hold()
            self._put({name: self.root / name}, notes)
            notes.save()
        self._push_own(source, session, lambda each: not _is_archive(each))
        if parts is not None and before - parts:
            session.lease.hold()
            self.objects.delete_all(before - parts)
            for stale in before - parts:
                notes.forget(stale)
        notes.save()

    def _push_own(self, source: str, session: _Session, which: Callable[[str], bool]) -> None:
        """Files beside the tables: first those are taken away that were taken away here."""
        notes = session.notes
        gone = [n for n in session.began_with if not self._is_there(n) and not _is_archive(n)]
        for name in sorted(n for n in gone if notes.tag(n)):
            session.lease.hold()
            self.objects.delete(name)
            notes.forget(name)
        files = self._own_files(source)
        changed = [n for n in files if which(n) and not notes.is_clean(n)]
        done = [n for n in changed if not n.endswith(ARCHIVE_SUFFIX) or _index_of(n) in files]
        for last in (False, True):  # an index says that its archive file is complete
            self._put({n: self.root / n for n in done if n.endswith(_INDEX) is last}, notes)

    def _leave(self, source: str, session: _Session) -> None:
        """What was fetched goes to the store in any case, the rest if it belongs to what is there."""
        name = self._manifest(source)
        with suppress(Refused):  # the next one to hold it sees what is there
            self._push_own(source, session, _is_archive)
            if session.notes.is_clean(name) or not self._is_there(name):
                self._push_own(source, session, lambda each: not _is_archive(each))
        session.notes.save()

    # ------------------------------------------------------------------ inside
    def _listed(self, source: str) -> dict[str, Seen]:
        """The objects of a source."""
        found: dict[str, Seen] = {}
        folders = {Path(each.format(source=source)).parent.as_posix() for each in self.own}
        folders |= {table.folder(source) for table in TABLES}
        for folder in folders if self.around is None else ("",):  # one book, and little else
            found |= self.objects.names(folder)
        if seen := self.objects.look(self._manifest(source)):
            found[self._manifest(source)] = seen
        return {name: seen for name, seen in found.items() if self._belongs(name, source)}

    def _fetch(self, wanted: Mapping[str, Path], notes: _Notes) -> None:
        for name, tag in self.objects.fetch_all(wanted).items():
            if tag is not None:
                notes.agree(name, tag)

    def _put(self, content: Mapping[str, Path], notes: _Notes) -> None:
        for name, tag in self.objects.put_all(content, {n: notes.tag(n) for n in content}).items():
            notes.agree(name, tag)

    def _drop(self, source: str, notes: _Notes, there: Mapping[str, Seen]) -> None:
        """Take away what the store has, too, and what is no more than it has."""
        if notes.is_clean(self._manifest(source)):
            for path in self.root.glob(f"*/{_SOURCE_AT}{source}/*"):
                path.unlink()
        for name, seen in there.items():
            path = self.root / name
            is_copy = name.endswith(ARCHIVE_SUFFIX) and _mark(path)[:1] == [seen.size]
            if notes.is_clean(name) or is_copy:
                path.unlink()

    def _parts(self, source: str, manifest: Path | None = None) -> set[str] | None:
        """The parts that a manifest names; ``None`` where it cannot be read."""
        try:
            told = unseal((manifest or self.manifest_file(source)).read_bytes())
            return {
                f"{table}/{_SOURCE_AT}{source}/{part['file']}"
                for table, parts in told["tables"].items()
                for part in parts
            }
        except FileNotFoundError:
            return set()
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def _has_rows(self, source: str) -> bool:
        try:
            return bool(self.manifest(source).tables.get(ENTRIES.name))
        except DatasetError:
            return True

    def _had_rows(self, source: str) -> bool:
        """Whether a source without a manifest had one, as its last ledger tells."""
        for path in sorted((self.root / "runs").glob(f"*Z-{source}.json"), reverse=True):
            with suppress(OSError, ValueError, KeyError):
                return bool(unseal(path.read_bytes())["rows"])
        return False

    def _noted(self, source: str) -> _Notes:
        return _Notes(self.notes / f"{source}.json", self.root)

    def _owner(self) -> str:
        """Who holds leases: this copy, on this machine, in which the kernel's lock is held too."""
        path = self.notes / "owner"
        with suppress(FileExistsError):
            path.parent.mkdir(parents=True, exist_ok=True)
            draft = path.with_name(f".owner.{uuid4().hex}")
            draft.write_text(uuid4().hex)
            try:
                os.link(draft, path)
            finally:
                draft.unlink()
        return f"{socket.gethostname()} {path.read_text()}"

    def _manifest(self, source: str) -> str:
        return self._name(self.manifest_file(source))

    def _name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def _is_there(self, name: str) -> bool:
        return (self.root / name).exists()

    def _is_same(self, name: str) -> bool:
        there = self.objects.get(name)
        return there is not None and there[0] == (self.root / name).read_bytes()

    def _is_own(self, name: str, source: str) -> bool:
        return any(fnmatchcase(name, each.format(source=source)) for each in self.own)

    def _belongs(self, name: str, source: str) -> bool:
        return (
            name == self._manifest(source) or _is_part(name, source) or self._is_own(name, source)
        )

    def _own_files(self, source: str) -> list[str]:
        """The files of a source beside the tables, as they lie here."""
        paths = [path for each in self.own for path in self.root.glob(each.format(source=source))]
        return sorted(self._name(p) for p in paths if p.is_file() and not p.name.startswith("."))


@cache
def opened(address: str) -> RemoteDataset:
    """The data set at an address: in one process always the same one, which knows what it holds."""
    address = address.rstrip("/")
    if not address.removeprefix("s3:").strip("/"):
        raise CannotCreate(f"{address}: no bucket is named; write s3://bucket/prefix")
    digest = hashlib.sha256(f"{server()} {address}".encode()).hexdigest()[:16]
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "harvester"
    root = Path(os.environ.get("HARVESTER_CACHE") or caches).absolute() / digest
    return RemoteDataset(root=root, objects=Objects(address), notes=root / ".remote")


def _mark(path: Path) -> list[int]:
    """What changes with a file."""
    try:
        told = path.stat()
    except OSError:
        return []
    return [told.st_size, told.st_mtime_ns]


def _is_part(name: str, source: str) -> bool:
    return f"/{_SOURCE_AT}{source}/" in name


def _is_archive(name: str) -> bool:
    return name.startswith("archive/")


def _index_of(name: str) -> str:
    return name.removesuffix(ARCHIVE_SUFFIX) + _INDEX


def _may_wait(name: str, there: Mapping[str, Seen]) -> bool:
    """Whether an archive file need not be here: it is complete, and its run published."""
    told = ledger_name(run_of(Path(name)))
    return name.endswith(ARCHIVE_SUFFIX) and _index_of(name) in there and told in there
