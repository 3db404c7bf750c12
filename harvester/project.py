"""Whose sources a command works with: Harvester's own, or those of a Scrapy project around the user.

As for Scrapy, the ``scrapy.cfg`` in the working directory or closest above it names the settings.  They
count where they are made of Harvester's (``from harvester.settings import *``); elsewhere Harvester
works with its own, as if there were no project.
"""

from __future__ import annotations

import configparser
import os
import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from scrapy.settings import BaseSettings

OWN: Final = "harvester.settings"
# What is installed here is overwritten by the next version.
_INSTALLED: Final = frozenset(("site-packages", "dist-packages"))


class ProjectError(Exception):
    """The project cannot be used; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Rooms:
    """Where a project keeps what belongs to its sources; ``package`` is the module of ``sources``."""

    root: Path
    package: str
    sources: Path
    recorded: Path


def settings_module() -> str:
    """The module of the settings.  Raises ``ProjectError`` where ``scrapy.cfg`` names none there is."""
    from scrapy.utils.conf import closest_scrapy_cfg, get_config

    try:
        project = os.environ.get("SCRAPY_PROJECT", "default")
        told = get_config().get("settings", project, fallback=OWN)
        name = os.environ.get("SCRAPY_SETTINGS_MODULE", told)
        if closest := closest_scrapy_cfg():  # the project's folder can be imported, as for Scrapy
            folder = str(Path(closest).parent)
            if folder not in sys.path:
                sys.path.append(folder)
        return name if hasattr(import_module(name), "HARVESTER_OUTPUT") else OWN
    except (ImportError, configparser.Error) as error:
        reason = " ".join(str(error).split())
        raise ProjectError(
            f"the settings that scrapy.cfg or SCRAPY_SETTINGS_MODULE names cannot be read: {reason}; "
            f"mend them, or set SCRAPY_SETTINGS_MODULE={OWN} to work without that project"
        ) from error


def rooms(settings: BaseSettings) -> Rooms:
    """Where new sources go: the package that ``NEWSPIDER_MODULE`` names.  Raises ``ProjectError``.

    The project is the closest folder above it with a ``scrapy.cfg``.
    """
    package = str(settings.get("NEWSPIDER_MODULE") or "")
    searched = settings.getlist("SPIDER_MODULES")
    if not any(package == each or package.startswith(f"{each}.") for each in searched):
        raise ProjectError(
            f"NEWSPIDER_MODULE, where new sources go, is {package!r}, and not in SPIDER_MODULES, "
            f"where sources are looked for: {', '.join(searched)}"
        )
    try:
        paths = list(getattr(import_module(package), "__path__", ()))
    except ImportError as error:
        raise ProjectError(f"NEWSPIDER_MODULE: {error}") from error
    if not paths:
        raise ProjectError(f"NEWSPIDER_MODULE {package!r} is a file; new sources go into a folder")
    sources = Path(paths[0]).resolve()
    root = next((each for each in sources.parents if (each / "scrapy.cfg").is_file()), None)
    if root is None or not _INSTALLED.isdisjoint(sources.parts):
        raise ProjectError(
            f"{sources} is no place for new sources; run this in a checkout of Harvester, or in a "
            "project of your own, whose scrapy.cfg names settings with NEWSPIDER_MODULE (see README.md)"
        )
    return Rooms(root, package, sources, root / "tests" / "sources")
