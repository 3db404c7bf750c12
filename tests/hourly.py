"""The `harvester` command, again and again, each time at another moment of a simulated clock.

    python tests/hourly.py

Reads lines of JSON from standard input: ``{"at": "2011-07-01T00:17:00+00:00", "arguments": [...]}``.
For each, a process of its own runs the command with these arguments at that moment; what came of it is
printed as ``{"code": 0, "out": "", "err": ""}``.  Everything is imported once, and time is simulated
in one place: the class ``datetime``, as Harvester's own modules get it.
"""

from __future__ import annotations

import datetime as clock
import gc
import importlib
import json
import os
import pkgutil
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import dateparser
import pandas  # noqa: F401
import pyarrow.parquet  # noqa: F401
import typer._adapters  # noqa: F401
from scrapy.settings import default_settings
from scrapy.utils.misc import load_object

REAL = clock.datetime


class _Times(type):
    """Every moment is one of ours, whoever made it."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, REAL)


class Simulated(REAL, metaclass=_Times):
    """The machine's time, and so much more."""

    ahead = clock.timedelta()

    @classmethod
    def now(cls, tz: clock.tzinfo | None = None) -> Any:
        return REAL.now(tz) + cls.ahead


def warm_up() -> None:
    """Import what commands need: others keep the machine's time, Harvester's is simulated."""
    for name in vars(default_settings):
        for path in named(getattr(default_settings, name)):
            load_object(path)
    dateparser.parse("1 July 2011", languages=["en"])  # its tables
    # Processes must not share a reactor; each makes its own.
    assert "twisted.internet.reactor" not in sys.modules
    clock.datetime = Simulated  # type: ignore[misc]
    for package in ("harvester", "pipelines"):
        for found in pkgutil.walk_packages(
            importlib.import_module(package).__path__, f"{package}."
        ):
            importlib.import_module(found.name)
    clock.datetime = REAL  # type: ignore[misc]


def named(setting: object) -> Iterator[str]:
    """The parts of Scrapy that a setting names."""
    if isinstance(setting, dict):
        for part in (*setting, *setting.values()):
            yield from named(part)
    elif isinstance(setting, str) and setting.startswith("scrapy."):
        yield setting


def run(order: dict[str, Any]) -> None:
    """Run one command in this process, which ends with it."""
    from harvester.cli import main

    Simulated.ahead = REAL.fromisoformat(order["at"]) - REAL.now(clock.UTC)
    main(order["arguments"])


def serve() -> None:
    """A process for each line, one after the other."""
    for line in sys.stdin:
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            child = os.fork()
            if not child:
                os.dup2(out.fileno(), 1)
                os.dup2(err.fileno(), 2)
                code: Any = 70
                try:
                    run(json.loads(line))
                except SystemExit as end:
                    code = end.code
                except BaseException:
                    traceback.print_exc()
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            said = []
            for file in (out, err):
                file.seek(0)
                said.append(file.read().decode())
        print(json.dumps({"code": code, "out": said[0], "err": said[1]}), flush=True)


if __name__ == "__main__":
    warm_up()
    gc.freeze()  # a collection in a child would copy all pages that it has in common with us
    serve()
