"""JSON files that tell whether they are whole: the first line is the digest of all that follows."""

from __future__ import annotations

import hashlib
import json
from datetime import date
from typing import Any

_HEAD = "{\n"


def seal(values: dict[str, Any]) -> bytes:
    """Some values as such a file."""
    body = json.dumps(values, default=_plain, ensure_ascii=False, indent=1) + "\n"
    digest = hashlib.sha256(body.encode()).hexdigest()
    return f'{_HEAD} "sha256": "{digest}",\n{body.removeprefix(_HEAD)}'.encode()


def unseal(data: bytes) -> dict[str, Any]:
    """The values in such a file.  Raises ``ValueError`` when a single bit of it has changed."""
    head, told, rest = data[:2], data[2:].partition(b"\n")[0], data[2:].partition(b"\n")[2]
    body = _HEAD.encode() + rest
    expected = f' "sha256": "{hashlib.sha256(body).hexdigest()}",'
    if head != _HEAD.encode() or told != expected.encode():
        raise ValueError("it is not what was written")
    values: dict[str, Any] = json.loads(body)
    return values


def _plain(value: object) -> str:
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(type(value).__name__)
