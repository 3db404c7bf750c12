"""JSON files that tell whether they are whole: the first line is the digest of all that follows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_HEAD = "{\n"


class Sealed:
    """Some values as such a file, in pieces: the ledger of a long run is never in memory as a whole.

    Dataclasses are written as their fields.
    """

    def __init__(self, values: Mapping[str, object]) -> None:
        self._values = values

    def __iter__(self) -> Iterator[bytes]:
        digest = hashlib.sha256(_HEAD.encode())
        for piece in self._body():
            digest.update(piece)
        yield f'{_HEAD} "sha256": "{digest.hexdigest()}",\n'.encode()
        yield from self._body()

    def _body(self) -> Iterator[bytes]:
        """All after the first line: a line for each value, and for each of those inside another."""
        for n, (name, value) in enumerate(self._values.items()):
            yield b"%b %b: " % (b",\n" if n else b"", json.dumps(name).encode())
            yield from _pieces(value, 2)
        yield b"\n}\n"


def _pieces(value: object, depth: int) -> Iterator[bytes]:
    if is_dataclass(value) and not isinstance(value, type):
        value = _fields(value)
    inside: Iterable[tuple[bytes, object]] = ()
    if isinstance(value, Mapping):
        inside = ((f"{json.dumps(name)}: ".encode(), each) for name, each in value.items())
    elif isinstance(value, list | tuple):
        inside = ((b"", each) for each in value)
    if depth == 0 or not value or not inside:
        yield json.dumps(value, default=_plain, ensure_ascii=False).encode()
        return
    opening, closing = (b"{", b"}") if isinstance(value, Mapping) else (b"[", b"]")
    indent = b"\n" + b" " * (4 - depth)
    yield opening
    for n, (name, each) in enumerate(inside):
        yield b"%b%b%b" % (b"," if n else b"", indent, name)
        yield from _pieces(each, depth - 1)
    yield indent[:-1] + closing


def unseal(data: bytes) -> dict[str, Any]:
    """The values in such a file.  Raises ``ValueError`` when a single bit of it has changed."""
    head, told, rest = data[:2], data[2:].partition(b"\n")[0], data[2:].partition(b"\n")[2]
    body = _HEAD.encode() + rest
    expected = f' "sha256": "{hashlib.sha256(body).hexdigest()}",'
    if head != _HEAD.encode() or told != expected.encode():
        raise ValueError("it is not what was written")
    values: dict[str, Any] = json.loads(body)
    return values


def _plain(value: object) -> object:
    if isinstance(value, date):
        return value.isoformat()
    if is_dataclass(value) and not isinstance(value, type):
        return _fields(value)
    raise TypeError(type(value).__name__)


def _fields(value: DataclassInstance) -> dict[str, object]:
    return {field.name: getattr(value, field.name) for field in fields(value)}
