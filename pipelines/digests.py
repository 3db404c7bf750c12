"""A set of names that takes eight bytes for each, to ask whether something has been met before.

In one process only, and wrong once in 2 ** 64 questions for each name in it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


class Digests:
    """Names that were added, many at a time."""

    def __init__(self) -> None:
        self._known: np.ndarray[Any, Any] | None = None

    def update(self, names: Iterable[str]) -> None:
        """Add some names."""
        import numpy as np

        new = np.fromiter(map(hash, names), dtype=np.int64)
        self._known = np.unique(new) if self._known is None else np.union1d(self._known, new)

    def __contains__(self, name: object) -> bool:
        if self._known is None:
            return False
        place = self._known.searchsorted(hash(name))
        return bool(place < self._known.size and self._known[place] == hash(name))
