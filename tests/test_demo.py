"""The demo stores just the rows that a person can read in ``demo_expected.json``."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd

EXPECTED = json.loads((Path(__file__).parent / "demo_expected.json").read_text("utf-8"))


def rows(output: Path) -> list[dict[str, object]]:
    frame = pd.read_parquet(output / "entries")
    found = []
    for row in frame.astype(object).where(frame.notna(), None).to_dict("records"):
        published = row["published"]
        found.append(
            {
                **{name: row[name] for name in EXPECTED[0]},
                "urls": [re.sub(r"^http://127.0.0.1:\d+", "", url) for url in row["urls"]],
                "published": published.date().isoformat() if published else None,
            }
        )
    return found


def by_content(row: dict[str, object]) -> tuple[str, str, str]:
    return (str(row["source"]), str(row["title"]), str(row["teaser"]))


def test_demo_stores_the_expected_rows(run, tmp_path) -> None:
    done = run("harvester", "demo")
    assert (done.code, done.err) == (0, "")
    assert sorted(rows(tmp_path / "output"), key=by_content) == sorted(EXPECTED, key=by_content)
    for shown in ("What was stored", "output/entries", "pandas.read_parquet", "read_parquet('"):
        assert shown in done.out


def test_demo_can_be_run_again_and_leaves_other_data_alone(run, tmp_path) -> None:
    assert run("harvester", "demo").code == 0
    before = rows(tmp_path / "output")
    assert run("harvester", "demo").code == 0
    assert [r["title"] for r in rows(tmp_path / "output")] == [r["title"] for r in before]

    (tmp_path / "output" / "DEMO.txt").unlink()
    refused = run("harvester", "demo")
    assert refused.code == 73
    assert "--output" in refused.err


def test_a_real_crawl_into_the_demos_folder_is_warned_of(run, tmp_path) -> None:
    assert run("harvester", "demo").code == 0
    done = run(
        "harvester", "crawl", "belhelcom", "--max-pages", "1", https_proxy="http://127.0.0.1:9"
    )
    assert "demo's rows" in done.err
