"""The 28 real pages of Amnesty International's listing, served on loopback to the real spider.

They lie outside the repository; HARVESTER_CORPUS names the folder.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from pathlib import Path

import pandas as pd
import pytest
from test_crawl import assert_same_rows

from harvester.spiders.amnesty_org import AmnestyOrg
from pipelines.dataset import Dataset

CORPUS = Path(os.environ.get("HARVESTER_CORPUS", "/nonexistent")) / "amnesty_belarus"
pytestmark = pytest.mark.skipif(not CORPUS.is_dir(), reason="HARVESTER_CORPUS names no corpus")

CUT = ("...", "[…]", "…")


def folded(text: str | None) -> str | None:
    """White space folded and the cut mark taken off, as the data set has it."""
    if text is None:
        return None
    text = " ".join(text.split())
    for mark in CUT:
        text = text.removesuffix(mark).rstrip()
    return text


@pytest.fixture
def truth(site):
    """Page path -> true entries; the pages are served by ``site``."""
    found = {}
    for path in sorted((CORPUS / "truth").glob("*.json")):
        told = json.loads(path.read_text("utf-8"))
        address = told["page_url"].removeprefix("https://www.amnesty.org")
        site.pages[address] = (CORPUS / "pages" / f"{path.stem}.html").read_bytes()
        found[address] = told["entries"]
    assert len(found) == 28
    return found


def test_every_entry_of_the_truth_is_a_row(run, site, truth, tmp_path) -> None:
    start = [x for path in truth for x in ("--start-url", site.url(path))]
    arguments = ["crawl", "amnesty_org", "--max-pages", "1", *start, "--output", tmp_path / "o"]
    done = run("harvester", *arguments)
    assert (done.code, done.err) == (0, "")
    rows = pd.read_parquet(tmp_path / "o" / "entries")
    by_url = {url: row for _, row in rows.iterrows() for url in row["urls"]}
    wanted = [entry for entries in truth.values() for entry in entries if not entry.get("optional")]
    for entry in wanted:
        row = by_url[entry["url"]]
        assert row["title"] == " ".join(entry["title"].split())
        assert str(row["published"].date()) == entry["date"]
        assert folded(row["teaser"]) == folded(entry["teaser"])

    # Copies under two addresses are one row; items that share a title, or a date, are not.
    told = {(e["title"], folded(e["teaser"]), e["date"]) for e in wanted}
    optional = {e["url"] for entries in truth.values() for e in entries if e.get("optional")}
    assert len(rows[~rows["url"].isin(optional)]) == len(told)
    assert len({e["url"] for e in wanted}) > len(told)
    assert len({e["title"] for e in wanted}) < len(told)

    assert run("harvester", *arguments, "--full").code == 0
    again = pd.read_parquet(tmp_path / "o" / "entries")
    assert_same_rows(rows, again, but=("last_seen", "run_id"))
    assert (again["last_seen"] > rows["last_seen"]).all()

    done = run("harvester", "replay", "--archive", tmp_path / "o", "--output", tmp_path / "p")
    assert done.code == 0
    assert_same_rows(again, pd.read_parquet(tmp_path / "p" / "entries"))


@pytest.mark.parametrize("seed", [1, 2])
def test_the_pages_in_any_order_and_again_are_the_same_rows(
    run, site, truth, tmp_path, seed
) -> None:
    chance = random.Random(seed)
    pages = chance.sample(list(truth), len(truth))
    runs = [pages[start : start + 7] for start in range(0, len(pages), 7)]
    for some in [*runs, chance.sample(pages, 5)]:
        start = [x for path in some for x in ("--start-url", site.url(path))]
        arguments = ["--max-pages", "1", "--full", *start, "--output", tmp_path / "o"]
        assert run("harvester", "crawl", "amnesty_org", *arguments).code == 0
    live = Dataset(tmp_path / "o")
    assert run("harvester", "replay", "--archive", live.root, "--output", tmp_path / "p").code == 0
    again = Dataset(tmp_path / "p")
    assert live.records("amnesty_org") == again.records("amnesty_org")
    assert live.versions("amnesty_org") == again.versions("amnesty_org")
    assert run("harvester", "check", "amnesty_org", "--output", live.root).err == ""


def test_recovery_and_a_package_give_the_same_rows(run, site, truth, tmp_path) -> None:
    start = [x for path in truth for x in ("--start-url", site.url(path))]
    arguments = ["crawl", "amnesty_org", "--max-pages", "1", "--full", *start, "--output"]
    assert run("harvester", *arguments, tmp_path / "o").code == 0
    rows = pd.read_parquet(tmp_path / "o" / "entries")
    first = sum(path.stat().st_size for path in tmp_path.glob("o/archive/*/*.warc.gz"))

    # As a run leaves it that was killed while it wrote down a page.
    shutil.copytree(tmp_path / "o" / "archive", tmp_path / "k" / "archive")
    [archive] = tmp_path.glob("k/archive/*/*.warc.gz")
    whole = archive.read_bytes()
    archive.write_bytes(whole + whole[len(whole) // 2 :][:1000])
    assert run("harvester", *arguments, tmp_path / "k").code == 0
    [ledger] = tmp_path.glob(f"k/runs/{archive.name.removesuffix('.warc.gz')}.json")
    assert f"torn at byte {len(whole)}" in ledger.read_text("utf-8")
    assert_same_rows(rows, pd.read_parquet(tmp_path / "k" / "entries"), but=("last_seen", "run_id"))
    assert archive.read_bytes() == whole
    both = sum(path.stat().st_size for path in tmp_path.glob("k/archive/*/*.warc.gz"))
    assert both < 1.1 * first, "no second copy"

    package = tmp_path / "k.wacz"
    order = ["archive", "pack", "--file", package, "--output", tmp_path / "k"]
    assert run("harvester", *order).code == 0
    assert run("harvester", "replay", "--warc", package, "--output", tmp_path / "p").code == 0
    assert_same_rows(
        pd.read_parquet(tmp_path / "k" / "entries"), pd.read_parquet(tmp_path / "p" / "entries")
    )


def test_every_page_names_its_next_page() -> None:
    from harvester import read_listing

    for path in sorted((CORPUS / "truth").glob("*.json")):
        told = json.loads(path.read_text("utf-8"))
        html = (CORPUS / "pages" / f"{path.stem}.html").read_bytes()
        assert read_listing(html, told["page_url"], AmnestyOrg.pattern).next_url == told["next_url"]
