"""The one-way imports that hold the house together."""

from __future__ import annotations

import ast
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# A room may import from rooms of a lower floor, and from its own.
FLOORS = {
    "harvester.page": 1,
    "harvester.parsers": 2,
    "harvester.archive": 2,
    "harvester.paging": 2,
    "harvester.politeness": 2,
    "harvester.guard": 2,
    "harvester.wire": 3,
    "harvester.recall": 3,
    "harvester.reading": 3,
    "harvester.browser": 2,
    "harvester.renderer": 4,
    "harvester.spider": 3,
    "harvester.recorder": 4,
    "harvester.replay": 4,
    "harvester.spiders": 4,
    "harvester.progress": 4,
    "harvester.peek": 4,
    "harvester.sources": 4,
    "harvester.terminal": 4,
    "harvester.crawl": 5,
    "harvester.demo": 6,
    "harvester.proof": 5,
    "harvester.changes": 1,
    "harvester.status": 5,
    "harvester.alerts": 1,
    "harvester.project": 1,
    "harvester.expected": 3,
    "harvester.scaffold": 4,
    "harvester.captures": 2,
    "harvester.backfill": 5,
    "harvester.inspection": 6,
    "harvester.orders": 6,
    "harvester.nursery": 6,
    "harvester.workers": 6,
    "harvester.cluster": 6,
    "harvester.cli": 7,
    "harvester.settings": 0,
    "harvester": 3,
}
ONLY_IN = {
    "dateparser": "harvester.parsers.dates",
    "htmldate": "harvester.parsers.article",
    "fastwarc": "harvester.archive.*",
    "pandas": "pipelines.dataset harvester",
    "pyarrow": "pipelines.table pipelines.columns",
    "typer": "harvester.cli* harvester.demo harvester.terminal",
    "filelock": "pipelines.dataset",
    "obstore": "pipelines.objects",
    "distributed": "harvester.cluster",
    "rapidfuzz": "pipelines.similarity pipelines.comparison",
    "aiohttp": "harvester.wire",
    "playwright": "harvester.renderer",
    "scrapy_playwright": "harvester.renderer",
    "regex": "pipelines.words",
    "xxhash": "pipelines.table harvester.spider harvester.reading harvester.recall",
}
PIPELINE_LEAVES = {"entry", "run", "text", "identity", "words", "sketch", "similarity", "version"}


def modules() -> list[tuple[str, set[str]]]:
    found = []
    for path in sorted([*ROOT.glob("harvester/**/*.py"), *ROOT.glob("pipelines/**/*.py")]):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        tree = ast.parse(path.read_text("utf-8"))
        imported = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{name}: relative import"
                imported |= {f"{node.module}.{alias.name}" for alias in node.names}
        found.append((name, imported))
    return found


MODULES = modules()
NAMES = {name for name, _ in MODULES}


def module_of(imported: str) -> str:
    """``harvester.page.Page`` is a thing in ``harvester.page``."""
    while imported not in NAMES and "." in imported:
        imported = imported.rpartition(".")[0]
    return imported


def floor(module: str) -> int:
    while module not in FLOORS:
        module = module.rpartition(".")[0]
    return FLOORS[module]


@pytest.mark.parametrize(("name", "imported"), MODULES, ids=[name for name, _ in MODULES])
def test_imports_run_one_way(name: str, imported: set[str]) -> None:
    for target in map(module_of, imported):
        package = target.partition(".")[0]
        if name.startswith("pipelines"):
            assert package not in {"harvester", "scrapy", "bs4", "selectolax", "lxml"}, target
        elif package == "harvester":
            assert floor(target) <= floor(name), f"{name} imports {target}, which is above it"
        for library, room in ONLY_IN.items():
            inside = any(fnmatch(name, pattern) for pattern in room.split())
            assert package != library or inside, f"{library} belongs to {room}"


@pytest.mark.parametrize(("name", "imported"), MODULES, ids=[name for name, _ in MODULES])
def test_parsers_are_pure(name: str, imported: set[str]) -> None:
    if not name.startswith("harvester.parsers"):
        return
    for target in imported:
        package = target.partition(".")[0]
        assert package not in {"scrapy", "twisted", "os", "pathlib", "socket", "time", "random"}
        if package == "pipelines":
            assert module_of(target) in {"pipelines.entry", "pipelines.text"}


@pytest.mark.parametrize(("name", "imported"), MODULES, ids=[name for name, _ in MODULES])
def test_leaves_of_the_pipelines_know_only_leaves(name: str, imported: set[str]) -> None:
    if name.partition(".")[2] in PIPELINE_LEAVES:
        for target in map(module_of, imported):
            if target.startswith("pipelines."):
                assert target.partition(".")[2] in PIPELINE_LEAVES
