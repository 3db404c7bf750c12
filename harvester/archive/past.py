"""What the archive of a source holds of an address: the answer that was had last.

It makes a request conditional, and a repeated body is not written twice.  Indices are read from the
newest file back, and only as far as an address asks; what they say is believed once its record has
been read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from harvester.archive.index import Line
from harvester.archive.reader import answer_at, lines_of
from harvester.archive.words import NOT_MODIFIED, Answer
from harvester.archive.writer import payload_digest


class Past:
    """The answers in some archive files, which are in the order of writing; ``at_hand`` brings one."""

    def __init__(self, files: Sequence[Path], at_hand: Callable[[Path], object] = Path) -> None:
        self._at_hand = at_hand
        self._unread: Iterator[Path] = reversed(files)
        self._latest: dict[str, tuple[Path, Line]] = {}

    def answer(self, url: str) -> Answer | None:
        """The last answer 200 from this very address, with its body; ``None`` if there is none."""
        found = self._find(url)
        if found is None:
            return None
        path, line = found
        for file in line.files(path):
            self._at_hand(file)
        answer = answer_at(path, line.offset)
        if answer is None or answer.url != url or answer.status != 200 or answer.truncated:
            return None
        return answer if payload_digest(answer.body) == answer.original.payload_digest else None

    def _find(self, url: str) -> tuple[Path, Line] | None:
        while url not in self._latest:
            path = next(self._unread, None)
            if path is None:
                return None
            for line in reversed(lines_of(path, keep=True)):
                if line.status in (200, NOT_MODIFIED):
                    self._latest.setdefault(line.url, (path, line))
        return self._latest[url]


def validators(answer: Answer) -> dict[str, str]:
    """The request headers that ask a server for another answer than this one only."""
    headers = dict(answer.headers)
    pairs = (("If-None-Match", "etag"), ("If-Modified-Since", "last-modified"))
    return {asked: headers[name] for asked, name in pairs if headers.get(name)}
