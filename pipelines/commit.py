"""Several folders and files change together, or not at all: a small redo log on one file system.

What is to change is prepared in ``.staging/<name>``; a note in it, written last, commits.  From then
on the change happens, if need be by the next process: folders trade places with the old ones in one
system call, so that a reader finds all old files or all new ones, then single files are replaced.
Every step may be done twice.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_NOTE: Final = "COMMIT"
_AT_FDCWD: Final = -100
_EXCHANGE: Final = 2
_NO_LINKS: Final = (errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS)
_NO_EXCHANGE: Final = (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP)


class Staging:
    """What is to change below ``root``.  Paths are relative to it; only one process at a time."""

    def __init__(self, root: Path, name: str) -> None:
        self._root = root
        self._base = root / ".staging" / name
        self._folders: list[str] = []
        self._files: list[str] = []
        self._kept: set[tuple[str, str]] = set()

    def folder(self, path: str) -> Path:
        """An empty folder that will take the place of the one at ``path``, with all that is in it."""
        self._folders.append(path)
        return self._made(path)

    def keep(self, path: str, names: Iterable[str]) -> None:
        """Files of the folder at ``path`` that stay as they are."""
        for name in names:
            self._kept.add((path, name))
            old, new = self._root / path / name, self._staged(path) / name
            try:
                os.link(old, new)
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                shutil.copy2(old, new)

    def file(self, path: str, data: bytes | Iterable[bytes]) -> None:
        """A file at ``path`` that is to hold ``data``."""
        self._files.append(path)
        self._made(str(Path(path).parent))
        write(self._staged(path), data)

    def commit(self) -> None:
        """Do it all.  When this raises before the note is written, nothing has changed."""
        for path in self._folders:
            sync(self._staged(path))
        for folder in {self._staged(path).parent for path in self._files}:
            sync(folder)
        note = {
            "folders": {path: self._content(path) for path in self._folders},
            "files": self._files,
        }
        draft = self._base / "draft"
        write(draft, json.dumps(note).encode())
        draft.replace(self._base / _NOTE)
        sync(self._base)
        self.settle()

    def settle(self) -> None:
        """Bring what was committed to its end, and forget what was not."""
        try:
            note = json.loads((self._base / _NOTE).read_bytes())
        except (FileNotFoundError, ValueError):  # a note that cannot be read commits nothing
            self._forget()
            return
        for path, files in note["folders"].items():
            self._trade(path, files)
        for path in note["files"]:
            staged = self._staged(path)
            if staged.exists():
                (self._root / path).parent.mkdir(parents=True, exist_ok=True)
                staged.replace(self._root / path)
                sync((self._root / path).parent)
        (self._base / _NOTE).unlink()
        sync(self._base)
        self._forget()

    def _content(self, path: str) -> dict[str, str | None]:
        """The files of a staged folder, with the digest of each new one: a damaged one had its name."""
        files = sorted(self._staged(path).iterdir())
        return {
            file.name: None if (path, file.name) in self._kept else _digest(file) for file in files
        }

    def _trade(self, path: str, files: dict[str, str | None]) -> None:
        """Put a staged folder in its place, unless it is there already."""
        here, staged = self._root / path, self._staged(path)
        if here.exists() and _holds(here, files):
            return
        here.parent.mkdir(parents=True, exist_ok=True)
        if not here.exists():
            staged.rename(here)
        elif not _exchange(staged, here):
            old = self._base / "old" / path
            old.parent.mkdir(parents=True, exist_ok=True)
            here.rename(old)  # for a moment there is neither
            staged.rename(here)
        sync(here.parent)

    def _forget(self) -> None:
        if self._base.exists():
            shutil.rmtree(self._base)

    def _staged(self, path: str) -> Path:
        return self._base / "new" / path

    def _made(self, path: str) -> Path:
        staged = self._staged(path)
        staged.mkdir(parents=True, exist_ok=True)
        return staged


@contextmanager
def staging(root: Path, name: str) -> Iterator[Staging]:
    """Prepare a change; it is committed when the block ends well, and forgotten when it does not."""
    change = Staging(root, name)
    change.settle()
    try:
        yield change
    except BaseException:
        shutil.rmtree(root / ".staging" / name, ignore_errors=True)
        raise
    change.commit()


def write(path: Path, data: bytes | Iterable[bytes]) -> None:
    """Write a new file, durably; an error names it."""
    try:
        with path.open("xb") as file:
            file.writelines((data,) if isinstance(data, bytes) else data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        number = error.errno or errno.EIO
        raise OSError(number, os.strerror(number), str(path)) from error


def _holds(folder: Path, files: dict[str, str | None]) -> bool:
    """Whether a folder has just these files."""
    if {path.name for path in folder.iterdir()} != files.keys():
        return False
    return all(digest in (None, _digest(folder / name)) for name, digest in files.items())


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(folder: Path) -> None:
    """Make the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _exchange(one: Path, other: Path) -> bool:
    """Let two folders trade places at once; ``False`` where the system cannot (Linux only)."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    paths = os.fsencode(one), os.fsencode(other)
    if rename(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], _EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in _NO_EXCHANGE:
        return False
    raise OSError(number, os.strerror(number), str(other))
