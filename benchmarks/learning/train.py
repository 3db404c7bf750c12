"""Fit the rankers on the pages of the corpus, and measure them on sites that they have not seen.

    HARVESTER_CORPUS=... python -m benchmarks.learning.train            write weights.toml and figures.json
    HARVESTER_CORPUS=... python -m benchmarks.learning.train --check    leave sites out, report, write nothing

Each ranker learns from what the one before it chose: title, date and teaser from the right group of
records; the listing from the groups that look best at a glance, and from pages whose listing was cut
out, where the right answer is none.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import tomllib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from html import escape
from itertools import pairwise
from math import inf
from pathlib import Path
from statistics import fmean, median
from typing import Any
from unittest import mock

from benchmarks.learning.ranker import Problem, fit, fit_chance
from benchmarks.learning.truth import FOLDS, Example, align, examples, label, oracle, scorer
from harvester import read_listing
from harvester.parsers import induction, pagination, rankers, ranking
from harvester.parsers.features import beside
from harvester.parsers.judgement import describe_group
from harvester.parsers.outline import outline
from harvester.parsers.rankers import Features, score
from harvester.parsers.roles import choose_roles, may_be_date, may_be_teaser, may_be_title
from harvester.parsers.tree import base_url, parse

Tables = dict[str, dict[str, float]]

WEIGHTS = Path(rankers.__file__).with_name("weights.toml")
FIGURES = Path(__file__).with_name("figures.json")
PRIORS: Tables = tomllib.loads(Path(__file__).with_name("priors.toml").read_text("utf-8"))
# Chosen by leaving sites out: how strongly weights are held to what was expected of them, and how far
# odd pages are forgiven.
PENALTY = {
    "title": 0.003,
    "date": 0.001,
    "teaser": 0.001,
    "glance": 0.003,
    "listing": 0.1,
    "next": 0.05,
    "plausible": 0.01,
    "confidence": 0.003,
}
DOUBT = {"title": 0.2, "date": 0.2, "teaser": 0.2, "glance": 0.05, "listing": 0.05, "next": 1.0}
RIVALS = 10  # groups of a page that the ranker learns from, more than it will have to choose from
RIGHT = 0.95  # the F1 of a page that was read right
NAMELESS = 0.5  # what a page whose class words say nothing counts, beside the page as it is


@cache
def field_problems(example: Example) -> dict[str, Problem]:
    """What the rankers of columns learn from the right group of a page."""
    found = oracle(example)
    page, sheet = example.page, found.sheet
    described = list(zip(sheet.columns, sheet.features, strict=True))
    titles = [(f, found.title(c), c) for c, f in described if may_be_title(c)]
    dates = [(f, found.date(c), c) for c, f in described if may_be_date(c)]
    title = max(titles, key=lambda x: x[1])[2]
    worth, date = max(((w, c) for _, w, c in dates), key=lambda x: x[0], default=(0.0, None))
    if worth <= max(found.date(None), 0.1):
        date = None
    teasers = [
        (f | beside(page, sheet, c, title, date), found.teaser(c, title, date))
        for c, f in described
        if may_be_teaser(c) and c is not title and c is not date
    ]
    return {
        "title": Problem([{}, *(f for f, _, _ in titles)], [0.0, *(w for _, w, _ in titles)]),
        "date": Problem(
            [{}, *(f for f, _, _ in dates)], [found.date(None), *(w for _, w, _ in dates)]
        ),
        "teaser": Problem(
            [{}, *(f for f, _ in teasers)],
            [found.teaser(None, title, date), *(w for _, w in teasers)],
        ),
    }


@cache
def glance_problem(example: Example) -> Problem:
    """What the ranker of all groups learns from a page."""
    worth = [align(example, group)[1] ** 2 for group in example.groups]
    return Problem([{}, *example.glances], [0.0, *worth])


@cache
def next_problem(example: Example) -> Problem:
    """What the ranker of links to the next page learns from a page."""
    norm = scorer().norm_url
    wanted = example.truth["next_url"]
    right = {norm(url, example.url) for url in (wanted if isinstance(wanted, list) else [wanted])}
    tree = parse(example.html.encode("utf-8", "replace"))
    links = pagination.describe_links(tree, example.url, base_url(tree, example.url))
    worth = [float(norm(link.url, example.url) in right) for link in links]
    return Problem([{}, *(link.features for link in links)], [float("" in right), *worth])


def listing_problem(example: Example, tables: Tables) -> Problem:
    """What the ranker of the likeliest groups learns from a page."""
    page = example.page
    options: list[Features] = [{}]
    worth = [0.0]
    for group in ranking.shortlist(page, example.groups, tables["glance"], most=RIVALS, margin=inf):
        found = label(example, group)
        roles = choose_roles(page, found.sheet, tables)
        options.append(describe_group(page, found.sheet, roles))
        worth.append(found.f1**2 * (0.2 + 0.8 * found.title(roles.title)))
    return Problem(options, worth)


@cache
def _cut(example: Example, kind: str) -> Example:
    """A page without its listing, or with something else in place of it: nothing left is one."""
    found = oracle(example)
    tree = parse(example.html.encode("utf-8", "replace"))
    whole = outline(tree)
    texts = [escape(text) for text in whole.texts if len(text) > 60][:12] * 3
    for span in found.sheet.group.spans:
        number = span.start
        while number < span.stop:
            whole.nodes[number].decompose()
            number = whole.end[number]
    story = _STORIES[kind](texts)
    html = (tree.html or "").replace("</body>", f"<div><h1>Story</h1>{story}</div></body>")
    return Example(example.name, html, {**example.truth, "entries": []})


def _linked_words(number: int, text: str) -> str:
    """A paragraph of which two words in the middle are a link, as authors write them."""
    words = text.split()
    middle = len(words) // 2
    link = f'<a href="/topics/{number}">{" ".join(words[middle : middle + 2])}</a>'
    return " ".join([*words[:middle], link, *words[middle + 2 :]])


_STORIES: dict[str, Callable[[Sequence[str]], str]] = {
    "nothing": lambda texts: "",
    "an article": lambda texts: "".join(f"<p>{text}</p>" for text in texts),
    "an article with links": lambda texts: "".join(
        f"<p>{_linked_words(number, text)}</p>" for number, text in enumerate(texts)
    ),
    "questions and answers": lambda texts: "".join(
        f"<h3>{question[:50]}?</h3><p>{answer}</p>" for question, answer in pairwise(texts)
    ),
}


def train(paged: Sequence[Example]) -> Tables:
    """All tables of weights but the one of confidence."""
    pages = [page for page in paged if page.truth.get("entries")]
    tables: Tables = {}
    for name in ("title", "date", "teaser"):
        problems = [field_problems(page)[name] for page in pages]
        tables[name] = _fit(name, [*problems, *map(_nameless, problems)])
    tables["glance"] = _fit("glance", [glance_problem(page) for page in pages])
    problems = [listing_problem(page, tables) for page in pages]
    tables["listing"] = _fit("listing", problems)
    best = [_best(problem, tables) for problem in problems]
    cut = [
        _best(listing_problem(_cut(page, kind), tables), tables)
        for page in pages
        for kind in _STORIES
    ]
    tables["plausible"] = fit_chance(
        [*best, *cut],
        [True] * len(best) + [False] * len(cut),
        PENALTY["plausible"],
        prior=PRIORS["plausible"],
    )
    tables["confidence"] = {"any": 0.0}
    tables["next"] = _fit(
        "next", [next_problem(page) for page in paged if "next_url" in page.truth]
    )
    return tables


def _fit(name: str, problems: Sequence[Problem]) -> dict[str, float]:
    return fit(problems, PENALTY[name], DOUBT[name], prior=PRIORS.get(name))


def _nameless(problem: Problem) -> Problem:
    """The same page if nobody had given its classes names that say something."""
    options = [
        {name: value for name, value in option.items() if not name.startswith("named like")}
        for option in problem.options
    ]
    return Problem(options, problem.worth, NAMELESS)


def _best(problem: Problem, tables: Tables) -> Features:
    return max(problem.options[1:], key=lambda f: score(f, tables["listing"]), default={})


def answers(pages: Sequence[Example], tables: Tables) -> list[dict[str, Any]]:
    """How pages are read with these weights, scored."""
    rows = []
    with (
        mock.patch.object(induction, "weights", lambda: tables),
        mock.patch.object(ranking, "weights", lambda: tables),
        mock.patch.object(pagination, "weights", lambda: tables),
    ):
        for example in pages:
            start = time.perf_counter()
            listing = read_listing(example.html, example.url)
            seconds = time.perf_counter() - start
            row = scorer().score_page(example.truth, listing.to_dict())
            row |= {"id": example.name, "seconds": seconds, "fold": example.fold}
            row["evidence"] = list(listing.evidence.reasons)
            row["confidence"] = listing.evidence.confidence
            row["doubts"] = dict(listing.evidence.doubts)
            row["pattern"] = listing.pattern.to_dict() if listing.pattern else None
            rows.append(row)
    return rows


def one_fold(fold: int | None) -> list[dict[str, Any]]:
    """Learn from all sites but those of a fold, and read these."""
    every = examples()
    tables = train([page for page in every if page.fold != fold])
    if fold is None:
        return [tables]
    return answers([example for example in every if example.fold == fold], tables)


def left_out() -> list[dict[str, Any]]:
    """All pages, each read with weights that never saw its site."""
    with ProcessPoolExecutor(2) as pool:
        return [
            row for rows in pool.map(one_fold, range(FOLDS), chunksize=FOLDS // 2) for row in rows
        ]


def confidence_table(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """How the doubts of left-out pages tell right ones from wrong ones."""
    judged = [row for row in rows if row["f1"] is not None]
    points = [{n: v for n, v in row["doubts"].items() if n != "plausible"} for row in judged]
    right = [row["f1"] >= RIGHT for row in judged]
    return fit_chance(points, right, PENALTY["confidence"], prior=PRIORS["confidence"])


def report(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The figures of a run, printed."""
    figures = {
        name: mean for name, (mean, _) in scorer().summarise(rows).items() if mean is not None
    }
    judged = sorted((r for r in rows if r["f1"] is not None), key=lambda r: -r["confidence"])
    sure = judged[: round(len(judged) * 0.85)]
    figures["f1 of the surest 85 %"] = fmean(row["f1"] for row in sure)
    print("  ".join(f"{name} {value:.3f}" for name, value in figures.items()))
    print(f"  {1000 * median(row['seconds'] for row in rows):.0f} ms a page (median)")
    return {name: round(value, 4) for name, value in figures.items()}


def write(tables: Tables, path: Path) -> None:
    """The weights as TOML, the heaviest first."""
    lines = ["# Made by benchmarks/learning/train.py from real pages; see docs/learning.md.\n"]
    for name, table in tables.items():
        lines.append(f"\n[{name}]\n")
        order = sorted(table.items(), key=lambda item: (-abs(item[1]), item[0]))
        lines += [f"{json.dumps(feature)} = {value}\n" for feature, value in order if value]
    path.write_text("".join(lines), "utf-8")


def dev(tables: Tables) -> list[dict[str, Any]]:
    """All pages, read with weights that saw them all."""
    return answers(examples(), tables)


def main() -> int:
    """Run; see the module."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="report, but write nothing")
    parser.add_argument(
        "--fast", action="store_true", help="leave no site out, keep the confidence"
    )
    parser.add_argument(
        "--json", type=Path, help="write what was read on every page, site left out"
    )
    options = parser.parse_args()
    figures = json.loads(FIGURES.read_text("utf-8")) if FIGURES.exists() else {}
    table = dict(rankers.weights()["confidence"])
    if not options.fast:
        rows = left_out()
        table = confidence_table(rows)
        for row in rows:
            row["confidence"] = rankers.chance(row["doubts"], table)
        print("each site read by weights that never saw it:")
        figures["left_out"] = report(rows)
        if options.json:
            options.json.write_text(json.dumps(rows, ensure_ascii=False, indent=1), "utf-8")
    if not options.check:
        tables = one_fold(None)[0] | {"confidence": table}
        print("all pages, which the weights have seen:")
        figures["dev"] = report(dev(tables))
        write(tables, WEIGHTS)
        FIGURES.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
