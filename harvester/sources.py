"""Where the sources are: the files of ``SPIDER_MODULES``, each by itself.

Scrapy's own loader stops at the first file that it cannot import.  Here such a file costs the others
nothing, and there is a line that says what is wrong with it.
"""

from __future__ import annotations

import sys
import warnings
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pkgutil import iter_modules
from traceback import extract_tb
from typing import Self

from scrapy import Request, Spider
from scrapy.settings import BaseSettings
from scrapy.utils.spider import iter_spider_classes

from harvester import settings
from harvester.spider import ListingSpider
from pipelines.run import SOURCE_NAME

Names = list[str]  # Scrapy wants a method of the name ``list``


@dataclass(frozen=True, slots=True)
class Unusable:
    """A source that cannot be used; where its name is not known, it goes by that of its file."""

    name: str
    reason: str


class Sources:
    """All sources, and Scrapy's door to them (``SPIDER_LOADER_CLASS``).

    ``sound`` are those that can be crawled, by name, in the order of their names.
    """

    def __init__(self, project: BaseSettings) -> None:
        self.unusable: list[Unusable] = []
        self._spiders: dict[str, type[Spider]] = {}
        found: dict[str, list[type[Spider]]] = defaultdict(list)
        for package in project.getlist("SPIDER_MODULES"):
            for module in _modules(package):
                for cls in self._load(module):
                    found[cls.name].append(cls)
        for name, classes in sorted(found.items()):
            if len(classes) == 1:
                self._spiders[name] = classes[0]
            else:
                files = " and ".join(sorted(_file(cls.__module__) for cls in classes))
                reason = f"{files} have the same name; rename one, until then neither is crawled"
                self.unusable.append(Unusable(name, reason))
        self.unusable.sort(key=lambda each: each.name)
        self.sound = {n: cls for n, cls in self._spiders.items() if issubclass(cls, ListingSpider)}

    @property
    def names(self) -> Names:
        """What a person may name: every source, sound or not."""
        return sorted({*self.sound, *(each.name for each in self.unusable)})

    def unusable_of(self, names: Collection[str]) -> Sequence[Unusable]:
        """Those of some sources that cannot be used."""
        return [each for each in self.unusable if each.name in names]

    def _load(self, module: str) -> Iterator[type[Spider]]:
        """The spiders of a file; what is wrong with it, or with one of them, is noted."""
        stem = module.rpartition(".")[2]
        try:
            loaded = import_module(module)
        except (Exception, SystemExit) as error:
            self.unusable.append(Unusable(stem, _why_not_imported(module, error)))
            return
        spiders = list(iter_spider_classes(loaded))
        for cls in spiders:
            if issubclass(cls, ListingSpider) and (wrong := _wrong_with(cls)):
                self.unusable.append(Unusable(stem, f"{_file(module)}: {wrong}"))
            else:
                yield cls
        if not spiders and not hasattr(loaded, "__path__") and not stem.startswith("_"):
            reason = (
                "it has no source: no class of it has a name (a file that needs none begins with _)"
            )
            self.unusable.append(Unusable(stem, f"{_file(module)}: {reason}"))

    # -------------------------------------------------------------- Scrapy's door
    @classmethod
    def from_settings(cls, settings: BaseSettings) -> Self:
        return cls(settings)

    def load(self, spider_name: str) -> type[Spider]:
        """The spider of this name.  Raises ``KeyError``, which says what is wrong with it."""
        for each in self.unusable_of([spider_name]):
            if spider_name not in self._spiders:
                raise KeyError(each.reason)
        return self._spiders[spider_name]

    def list(self) -> Names:
        """The names of all spiders; warns of those that cannot be used, as Scrapy does."""
        for each in self.unusable:
            warnings.warn(each.reason, RuntimeWarning, stacklevel=2)
        return sorted(self._spiders)

    def find_by_request(self, request: Request) -> Names:
        """The spiders whose site a request goes to."""
        return [name for name, cls in self._spiders.items() if cls.handles_request(request)]


def _modules(name: str) -> Iterator[str]:
    """A module and what lies in it, however deep.  A package that cannot be imported has nothing in it."""
    yield name
    for _, inner, _ in iter_modules(getattr(sys.modules.get(name), "__path__", ())):
        yield from _modules(f"{name}.{inner}")


def _wrong_with(cls: type[ListingSpider]) -> str | None:
    """What keeps a class from being a source."""
    if not isinstance(cls.name, str) or not SOURCE_NAME.fullmatch(cls.name):
        return f"name = {cls.name!r} must begin with a-z and hold only a-z, 0-9, _ and -"
    urls = getattr(cls, "start_urls", None)
    if not urls or isinstance(urls, str):
        return (
            "start_urls is no list of addresses, as in start_urls = ['https://example.org/news/']"
        )
    own = cls.custom_settings or {}
    if not isinstance(own, Mapping):
        return f"custom_settings is no dict: {own!r}"
    for name in ("DOWNLOADER_MIDDLEWARES", "ITEM_PIPELINES", "EXTENSIONS"):
        ours: dict[str, int] = getattr(settings, name)
        if missing := ours.keys() - own.get(name, ours).keys():
            return f"custom_settings: {name} takes the place of ours; it lacks {', '.join(missing)}"
    return None


def _why_not_imported(module: str, error: BaseException) -> str:
    """One line: the file, the line of it, the error."""
    file = _file(module)
    if isinstance(error, SyntaxError):
        return f"{error.filename or file}, line {error.lineno}: {type(error).__name__}: {error.msg}"
    lines = [frame.lineno for frame in extract_tb(error.__traceback__) if frame.filename == file]
    place = f"{file}, line {lines[-1]}" if lines else file
    return f"{place}: {type(error).__name__}: {error}"


def _file(module: str) -> str:
    try:
        spec = find_spec(module)
    except (ImportError, ValueError):
        spec = None
    return spec.origin if spec and spec.origin else module
