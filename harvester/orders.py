"""What a process of its own is told to do with one source, and what it says of it.

Both are plain values, which pass from process to process and from machine to machine; a source goes
by its name.
"""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal

from scrapy.settings import SETTINGS_PRIORITIES, BaseSettings, Settings

from harvester.crawl import Exit, Outcome, crawl, failed, hosts_of, judge, project_settings
from harvester.progress import Count
from harvester.replay import replay
from harvester.sources import Sources
from pipelines.dataset import Locked, open_dataset
from pipelines.upsert import retell
from pipelines.version import VERSION

Values = Mapping[str, tuple[Any, int]]

# What a machine knows of itself.
_OF_A_MACHINE: Final = frozenset(("HARVESTER_CHROMIUM",))


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One source and what to do with it; ``arguments`` are those of ``crawl`` or ``reread``.

    ``retell`` lets rows tell the stories that other sources gave them, where their lock was held then.
    ``settings`` are the values and priorities that differ from Scrapy's own.  ``hosts`` are those that
    nobody else may use meanwhile.  ``watched``: somebody wants to know how far it is.
    """

    command: Literal["crawl", "replay", "retell"]
    source: str
    settings: Values
    arguments: Mapping[str, Any] = field(default_factory=dict)
    hosts: frozenset[str] = frozenset()
    watched: bool = False
    version: str = VERSION


@dataclass(frozen=True, slots=True)
class Result:
    """What came of an order; ``others`` counts the records that a replay left out, by the reason.

    ``held``: nothing was done, because somebody else holds the source.
    """

    outcome: Outcome
    others: Mapping[str, int] = field(default_factory=dict)
    held: bool = False


def orders(
    command: Literal["crawl", "replay"],
    runs: Mapping[str, Mapping[str, Any]],
    known: Sources,
    settings: Settings,
    *,
    watched: bool = False,
) -> list[Order]:
    """An order for each source; ``runs`` holds each one's arguments."""
    values = _values(settings)
    return [
        Order(
            command=command,
            source=name,
            settings=values,
            arguments=arguments,
            hosts=hosts_of(known.sound[name], settings) if command == "crawl" else frozenset(),
            watched=watched,
        )
        for name, arguments in runs.items()
    ]


def perform(order: Order, known: Sources, tell: Count | None = None) -> Result:
    """Do what was ordered, in this process; a crawl can be done once in a process.

    ``known`` are the sources that there are here.
    """
    source = order.source
    try:
        for unusable in known.unusable_of([source]):
            return Result(Outcome(source, Exit.CONFIG, unusable.reason, None))
        if source not in known.sound:
            reason = "the process that was to do it has no source of this name"
            return Result(Outcome(source, Exit.CONFIG, reason, None))
        settings = project_settings(None)
        for name, (value, priority) in order.settings.items():
            settings.set(name, value, priority)
        # Else all files of sources are imported again.
        loader = type("Known", (), {"from_settings": staticmethod(lambda _: known)})
        settings.set("SPIDER_LOADER_CLASS", loader, "cmdline")
        if order.command == "replay":
            return reread(known, source, settings, **order.arguments)
        if order.command == "retell":
            retell(open_dataset(settings["HARVESTER_OUTPUT"]), [source])
            return Result(Outcome(source, Exit.OK, None, None))
        [outcome] = crawl({source: order.arguments}, settings, progress=False, tell=tell)
        return Result(outcome, held=outcome.exit is Exit.TRY_LATER and outcome.report is None)
    except KeyboardInterrupt:
        reason = "interrupted; the same command does it again"
        return Result(Outcome(source, Exit.TRY_LATER, reason, None))
    except Exception as error:
        return Result(failed(source, error))


def reread(
    known: Sources, source: str, settings: Settings, *, archives: Mapping[str, str], **options: Any
) -> Result:
    """Replay a source from its archive files; ``options`` are those of ``replay``."""
    dataset = open_dataset(settings["HARVESTER_OUTPUT"])
    files = {Path(path): name for path, name in archives.items()}
    try:
        done = replay(dataset, known.sound[source](), settings, files, **options)
    except Exception as error:
        return Result(failed(source, error), held=isinstance(error, Locked))
    # Nobody asks any more what was decided of each entry.
    outcome = judge(source, replace(done.report, decisions=()))
    # Damage to an archive is a matter of data, not of a site being down.
    if outcome.exit is Exit.UNAVAILABLE:
        outcome = replace(outcome, exit=Exit.DATA)
    return Result(outcome, Counter(done.others))


def _values(settings: BaseSettings) -> Values:
    """The settings that were set by somebody, as far as they are values that can travel."""
    found = {}
    for name, attribute in settings.attributes.items():
        value = attribute.value
        if isinstance(value, BaseSettings):
            value = value.copy_to_dict()
        mine = attribute.priority >= SETTINGS_PRIORITIES["project"]
        if mine and name not in _OF_A_MACHINE and _travels(value):
            found[name] = (value, attribute.priority)
    return found


def _travels(value: object) -> bool:
    try:
        pickle.dumps(value)
    except Exception:
        return False
    return True
