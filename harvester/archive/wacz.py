"""Archive files packed for a viewer (WACZ 1.1.1), and taken out again.

The package is written here and not by py-wacz, whose dependencies outweigh it: the files as they are,
our index, and the pages of the listing, in the form that ReplayWeb.page reads and py-wacz validates.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from lzma import LZMAError
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Final
from zipfile import ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from harvester.archive import index
from harvester.archive.index import Line
from harvester.archive.reader import indexed
from harvester.archive.words import NOT_MODIFIED
from pipelines.table import Damaged
from pipelines.version import VERSION

SUFFIX: Final = ".wacz"
_WARC: Final = (".warc", ".warc.gz")
_CHUNK: Final = 1 << 20
_SWELL: Final = 100  # what a package makes larger than this is no archive


def pack(files: Sequence[Path], title: str, target: Path) -> int:
    """Write archive files as one package; the number of its pages.  ``target`` must not exist."""
    lines = [line for path in files for line in indexed(path)]
    # A viewer that lands on a "not modified" would show an empty page.
    shown = [line for line in lines if line.status != NOT_MODIFIED]
    pages = [line for line in shown if line.status == 200 and line.listing]
    resources = []
    with ZipFile(target, "x", ZIP_STORED) as package:
        for path in files:
            with path.open("rb") as file:
                resources.append(_add(package, f"archive/{path.name}", file))
        for name, text in (
            ("indexes/index.cdxj", index.as_bytes(shown)),
            ("pages/pages.jsonl", "".join(_page_lines(pages)).encode()),
        ):
            resources.append(_add(package, name, text))
        told = {
            "profile": "data-package",
            "wacz_version": "1.1.1",
            "title": title,
            "software": f"Harvester/{VERSION}",
            "created": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "resources": resources,
        }
        data = json.dumps(told, indent=1, ensure_ascii=False).encode()
        _add(package, "datapackage.json", data)
        seal = {
            "path": "datapackage.json",
            "hash": f"sha256:{hashlib.sha256(data).hexdigest()}",
        }
        _add(package, "datapackage-digest.json", json.dumps(seal).encode())
    return len(pages)


@contextmanager
def unpacked(path: Path) -> Iterator[dict[Path, str]]:
    """The archive files in a package, laid out in a folder that lasts as long as the block.

    Each comes with the name that it goes by; a file that is no package is itself.  Raises ``Damaged``.
    """
    if path.suffix.lower() != SUFFIX:
        yield {path: str(path.absolute())}
        return
    with TemporaryDirectory(prefix="harvester-") as folder:
        yield {found: f"{path.absolute()}#{found.name}" for found in _extracted(path, Path(folder))}


def _extracted(path: Path, place: Path) -> Iterator[Path]:
    try:
        with ZipFile(path) as package:
            names = [name for name in package.namelist() if name.lower().endswith(_WARC)]
            if not names:
                raise Damaged(f"{path}: no archive files in it")
            for number, name in enumerate(names):
                told = package.getinfo(name)
                if told.file_size > _SWELL * max(told.compress_size, 1000):
                    raise Damaged(f"{path}: {name} would unpack to {told.file_size} bytes")
                folder = place / str(number)  # two may have one name, whatever folders they say
                folder.mkdir()
                target = folder / Path(name).name
                with package.open(name) as packed, target.open("xb") as out:
                    shutil.copyfileobj(packed, out, _CHUNK)
                yield target
    except (
        BadZipFile,
        OSError,
        EOFError,
        LZMAError,
        zlib.error,
        RuntimeError,
        ValueError,
    ) as error:
        raise Damaged(f"{path}: no package that can be read: {error}") from error


def _page_lines(pages: Iterable[Line]) -> Iterator[str]:
    yield _json({"format": "json-pages-1.0", "id": "pages", "title": "Listing pages"})
    for page in pages:
        stamp = page.at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        told = {"id": page.record_id.strip("<>"), "url": page.url, "ts": stamp, "title": page.url}
        yield _json(told)


def _json(values: dict[str, str]) -> str:
    return json.dumps(values, ensure_ascii=False) + "\n"


def _add(package: ZipFile, name: str, content: bytes | IO[bytes]) -> dict[str, object]:
    """Store a file, byte for byte; what the package says of it."""
    digest, size = hashlib.sha256(), 0
    info = ZipInfo(name, datetime.now(UTC).timetuple()[:6])
    info.external_attr = 0o644 << 16
    with package.open(info, "w", force_zip64=True) as out:
        chunks = (
            [content] if isinstance(content, bytes) else iter(lambda: content.read(_CHUNK), b"")
        )
        for chunk in chunks:
            digest.update(chunk)
            size += len(chunk)
            out.write(chunk)
    slug = name.lower().replace("/", "-")
    return {
        "name": slug,
        "path": name,
        "hash": f"sha256:{digest.hexdigest()}",
        "bytes": size,
    }
