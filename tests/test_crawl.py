"""From the wire to the Parquet file and back, through the commands that a user runs."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from conftest import Late, a_page, article, listing


def frame(output: Path) -> pd.DataFrame:
    return pd.read_parquet(output / "entries")


def assert_same_rows(one: pd.DataFrame, other: pd.DataFrame, *, but: tuple[str, ...] = ()) -> None:
    for table in (one, other):
        table["urls"] = table["urls"].map(tuple)
    pd.testing.assert_frame_equal(one.drop(columns=list(but)), other.drop(columns=list(but)))


def ledgers(output: Path) -> list[dict]:
    return [
        json.loads(path.read_text("utf-8")) for path in sorted((output / "runs").glob("*.json"))
    ]


@pytest.fixture
def three_pages(site):
    for number in (1, 2, 3):
        site.pages[f"/list/{number}"] = a_page(number)
    return site


def crawl(run, site, output, *more, start="/list/1"):
    return run(
        "harvester",
        "crawl",
        "amnesty_org",
        "--start-url",
        site.url(start),
        "--output",
        output,
        *more,
    )


def test_a_crawl_follows_the_listing_and_stores_what_it_says(run, three_pages, tmp_path) -> None:
    done = crawl(run, three_pages, tmp_path / "o")
    assert (done.code, done.out, done.err) == (0, "", ""), "quiet on success"
    rows = frame(tmp_path / "o")
    assert len(rows) == 9
    first = rows.iloc[0]
    assert first["title"] == "Entry 1-0"
    assert first["url"] == three_pages.url("/news/entry-1-0/")
    assert first["published"] == pd.Timestamp("2011-07-25")
    assert first["published_precision"] == "day"
    assert (first["teaser"], first["teaser_truncated"]) == ("What entry 1-0 has to say", True)
    assert (first["kind"], first["language"]) == ("News", "en")
    assert (first["repeats"], first["revision"], first["position"]) == (1, 1, 0)
    assert first["page_url"] == three_pages.url("/list/1")
    [ledger] = ledgers(tmp_path / "o")
    assert ledger["counts"] == {
        "entries": 9, "new": 9, "repeats": 0, "revised": 0, "seen": 0, "rejected": 0
    }  # fmt: skip
    assert ledger["course"]["stops"] == [
        {"start_url": three_pages.url("/list/1"), "reason": "there is no next page", "whole": True}
    ]


def test_a_second_run_adds_nothing_and_moves_only_last_seen(run, three_pages, tmp_path) -> None:
    output = tmp_path / "o"
    crawl(run, three_pages, output, "--full")
    before = frame(output)
    assert crawl(run, three_pages, output, "--full").code == 0
    after = frame(output)
    assert_same_rows(before, after, but=("last_seen", "run_id"))
    assert (after["last_seen"] > before["last_seen"]).all()


def test_a_quiet_hour_costs_one_page(run, three_pages, tmp_path) -> None:
    crawl(run, three_pages, tmp_path / "o")
    three_pages.asked.clear()
    assert crawl(run, three_pages, tmp_path / "o").code == 0
    assert three_pages.asked == ["/robots.txt", "/list/1"]
    assert "stored already" in ledgers(tmp_path / "o")[-1]["course"]["stops"][0]["reason"]


def test_a_listing_that_was_not_read_whole_is_read_on(run, three_pages, tmp_path) -> None:
    crawl(run, three_pages, tmp_path / "o", "--max-pages", "1")
    assert len(frame(tmp_path / "o")) == 3
    crawl(run, three_pages, tmp_path / "o")
    assert len(frame(tmp_path / "o")) == 9, "page 1 was known, but nothing after it"


@pytest.mark.parametrize(
    "instead", [(503, {}, ""), "<html><body>We need your consent</body></html>"]
)
def test_an_hour_in_which_the_source_is_down_costs_no_second_reading(
    run, three_pages, tmp_path, instead
) -> None:
    crawl(run, three_pages, tmp_path / "o")
    three_pages.pages["/list/1"] = instead
    assert crawl(run, three_pages, tmp_path / "o").code == 69
    three_pages.pages["/list/1"] = a_page(1)
    three_pages.asked.clear()
    assert crawl(run, three_pages, tmp_path / "o").code == 0
    assert three_pages.asked == ["/robots.txt", "/list/1"]


def test_max_pages_counts_for_each_start_address(run, three_pages, tmp_path) -> None:
    three_pages.pages["/other/1"] = listing(
        article("Other", "/o", "July 1, 2011", "Another listing"), next_page="/list/3"
    )
    done = crawl(
        run,
        three_pages,
        tmp_path / "o",
        "--max-pages",
        "2",
        "--start-url",
        three_pages.url("/other/1"),
    )
    assert done.code == 0
    asked = [path for path in three_pages.asked if path != "/robots.txt"]
    assert sorted(asked) == ["/list/1", "/list/2", "/list/3", "/other/1"]


def test_a_window_admits_its_days_and_ends_the_paging(run, three_pages, tmp_path) -> None:
    done = crawl(run, three_pages, tmp_path / "o", "--since", "2011-07-20", "--until", "2011-07-23")
    assert done.code == 0
    days = frame(tmp_path / "o")["published"].dt.day.tolist()
    assert sorted(days) == [20, 21, 22, 23]
    crawl(run, three_pages, tmp_path / "p", "--since", "2011-07-24")
    assert "/list/3" not in three_pages.asked[-3:], "page 2 was older than the window"


def test_a_replay_gives_the_same_rows_without_the_network(run, three_pages, tmp_path) -> None:
    crawl(run, three_pages, tmp_path / "o", "--since", "2011-07-20")
    crawl(run, three_pages, tmp_path / "o", "--full")
    three_pages.asked.clear()
    done = run("harvester", "replay", "--archive", tmp_path / "o", "--output", tmp_path / "p")
    assert (done.code, done.err) == (0, "")
    assert three_pages.asked == []
    assert_same_rows(frame(tmp_path / "o"), frame(tmp_path / "p"))

    before = frame(tmp_path / "o")
    done = run("harvester", "replay", "amnesty_org", "--output", tmp_path / "o")
    assert done.code == 0
    assert_same_rows(before, frame(tmp_path / "o"))

    warcs = sorted((tmp_path / "o" / "archive" / "amnesty_org").glob("*.warc.gz"))
    done = run(
        "harvester",
        "replay",
        *(x for w in warcs for x in ("--warc", w)),
        "--output",
        tmp_path / "q",
    )
    assert done.code == 0
    assert_same_rows(before, frame(tmp_path / "q"))


def test_a_replay_of_one_run_and_of_a_window(run, three_pages, tmp_path) -> None:
    crawl(run, three_pages, tmp_path / "o", "--max-pages", "1")
    crawl(run, three_pages, tmp_path / "o")
    first = ledgers(tmp_path / "o")[0]["run_id"]
    args = ("harvester", "replay", "amnesty_org", "--archive", tmp_path / "o", "--output")
    assert run(*args, tmp_path / "p", "--run", first).code == 0
    assert len(frame(tmp_path / "p")) == 3
    assert run(*args, tmp_path / "q", "--since", "2011-07-25").code == 0
    assert len(frame(tmp_path / "q")) == 1
    missing = run(*args, tmp_path / "r", "--run", "20000101T000000Z-amnesty_org")
    assert missing.code == 64
    assert "20000101T000000Z" in missing.err


def test_a_replay_with_a_broken_pattern_takes_nothing_back(run, three_pages, tmp_path) -> None:
    from harvester.crawl import judge, project_settings
    from harvester.replay import replay
    from harvester.spiders.amnesty_org import AmnestyOrg
    from pipelines.dataset import Dataset

    crawl(run, three_pages, tmp_path / "o")
    before = frame(tmp_path / "o")

    class Broken(AmnestyOrg):
        pattern = replace(AmnestyOrg.pattern, record="article.pst")

    dataset = Dataset(tmp_path / "o")
    archives = dict.fromkeys(dataset.archive_files("amnesty_org"), "")
    report = replay(dataset, Broken(), project_settings(None), archives, rebuild=True).report
    assert judge("amnesty_org", report).exit == 69
    assert "article.pst" in (judge("amnesty_org", report).problem or "")
    assert_same_rows(before, frame(tmp_path / "o"))


def test_an_alarm_is_given_once(run, three_pages, tmp_path) -> None:
    crawl(run, three_pages, tmp_path / "o")
    three_pages.pages["/list/1"] = "<html><body>We are being repaired</body></html>"
    assert crawl(run, three_pages, tmp_path / "o").code == 69
    before = frame(tmp_path / "o")
    done = run("harvester", "replay", "--output", tmp_path / "o")
    assert (done.code, done.err) == (0, "")
    assert_same_rows(before, frame(tmp_path / "o"))


def test_a_torn_ledger_is_named(run, three_pages, tmp_path) -> None:
    crawl(run, three_pages, tmp_path / "o")
    [path] = (tmp_path / "o" / "runs").iterdir()
    path.write_text(path.read_text()[:100])
    done = crawl(run, three_pages, tmp_path / "o")
    assert done.code == 65
    assert path.name in done.err


def test_a_part_of_a_dead_run_does_not_pass_for_the_run(run, three_pages, tmp_path) -> None:
    output = tmp_path / "o"
    killed_on_page_3(three_pages, output)
    assert run("harvester", "replay", "--since", "2030-01-01", "--output", output).code == 0
    three_pages.pages["/list/1"] = a_page(3)
    assert crawl(run, three_pages, output).code == 0
    assert len(frame(output)) == 9, "the dead run was still recovered"


def test_an_archive_of_another_source_is_refused(run, three_pages, tmp_path) -> None:
    crawl(run, three_pages, tmp_path / "o")
    [warc] = (tmp_path / "o" / "archive").glob("*/*.warc.gz")
    done = run("harvester", "replay", "belhelcom", "--warc", warc, "--output", tmp_path / "p")
    assert done.code == 64
    assert "amnesty_org" in done.err
    assert not (tmp_path / "p").exists()


def test_a_recovery_that_fails_is_heard(run, three_pages, tmp_path) -> None:
    folder = tmp_path / "o" / "archive" / "amnesty_org"
    (folder / "20200101T000000Z-amnesty_org.warc.gz").mkdir(parents=True)
    done = crawl(run, three_pages, tmp_path / "o")
    assert done.code == 74
    assert "20200101T000000Z" in done.err
    assert len(frame(tmp_path / "o")) == 9, "and the crawl itself is not lost"


def test_a_window_says_nothing_of_what_it_left_out(run, three_pages, tmp_path) -> None:
    crawl(run, three_pages, tmp_path / "o", "--since", "2011-07-18")
    assert len(frame(tmp_path / "o")) == 8
    crawl(run, three_pages, tmp_path / "o", "--until", "2011-07-18")
    assert len(frame(tmp_path / "o")) == 9, "the pages before the window were read on"


def test_compressed_answers_are_archived_as_they_came_and_replayed(run, site, tmp_path) -> None:
    body = a_page(3).encode()
    site.pages["/list/1"] = (200, {"Content-Encoding": "gzip"}, gzip.compress(body))
    assert crawl(run, site, tmp_path / "o").code == 0
    assert (
        run("harvester", "replay", "--archive", tmp_path / "o", "--output", tmp_path / "p").code
        == 0
    )
    assert_same_rows(frame(tmp_path / "o"), frame(tmp_path / "p"))


def begun(site, output, until: str) -> subprocess.Popen:
    """A crawl that has asked for the page ``until``, which does not come."""
    process = subprocess.Popen(
        [Path(sys.executable).parent / "harvester", "crawl", "amnesty_org",
         "--start-url", site.url("/list/1"), "--output", output],
        stderr=subprocess.PIPE,
    )  # fmt: skip
    while until not in site.asked:
        time.sleep(0.05)
        assert process.poll() is None
    return process


def killed_on_page_3(site, output) -> None:
    """A crawl that had fetched two pages and was waiting for the third."""
    site.pages["/list/3"] = Late(a_page(3))
    process = begun(site, output, until="/list/3")
    process.kill()
    process.communicate()


def test_a_killed_crawl_loses_no_fetched_page(run, three_pages, tmp_path) -> None:
    output = tmp_path / "o"
    killed_on_page_3(three_pages, output)
    assert not (output / "entries").exists()
    three_pages.pages["/list/1"] = three_pages.pages["/list/2"] = (404, {}, b"gone")

    assert crawl(run, three_pages, output).code == 69, "the site is gone now"
    rows = frame(output)
    assert len(rows) == 6
    dead, _ = ledgers(output)
    assert (dead["mode"], dead["counts"]["new"]) == ("recovery", 6)
    assert set(rows["run_id"]) == {dead["run_id"]}


def test_a_torn_archive_gives_what_is_whole_in_it(run, three_pages, tmp_path) -> None:
    output = tmp_path / "o"
    killed_on_page_3(three_pages, output)
    [warc] = (output / "archive").glob("*/*.warc.gz")
    with warc.open("r+b") as file:  # the request record after page 2, and some of page 2
        file.truncate(warc.stat().st_size - 700)
    three_pages.pages["/list/1"] = (404, {}, b"gone")
    done = crawl(run, three_pages, output)
    assert len(frame(output)) == 3
    assert "torn" in json.dumps(ledgers(output)[0]["course"]["failures"])
    assert warc.with_name(warc.name + ".torn").stat().st_size > 0
    assert done.code == 69
    assert run("harvester", "replay", "--output", output).code == 0, "the file is whole again"
    assert len(frame(output)) == 3


def test_a_stopped_crawl_finishes_its_page_and_publishes(run, three_pages, tmp_path) -> None:
    three_pages.pages["/list/2"] = Late(a_page(2))
    process = begun(three_pages, tmp_path / "o", until="/list/2")
    process.terminate()
    time.sleep(0.5)
    three_pages.let_go.set()
    process.communicate(timeout=60)
    assert process.returncode == 75
    assert len(frame(tmp_path / "o")) == 6
    assert crawl(run, three_pages, tmp_path / "o").code == 0
    assert len(frame(tmp_path / "o")) == 9, "the next run reads on"


def test_two_runs_of_one_source_at_once(run, three_pages, tmp_path) -> None:
    three_pages.pages["/list/1"] = Late("")
    args = [
        "crawl",
        "amnesty_org",
        "--start-url",
        three_pages.url("/list/1"),
        "--output",
        tmp_path / "o",
    ]
    first = subprocess.Popen([Path(sys.executable).parent / "harvester", *args])
    while "/list/1" not in three_pages.asked:
        time.sleep(0.05)
    second = run("harvester", *args)
    assert second.code == 75
    assert "another process" in second.err
    first.kill()
    first.wait()
    three_pages.let_go.set()
    three_pages.pages["/list/1"] = a_page(1, last=1)
    assert run("harvester", *args).code == 0, "a dead holder never blocks"


def test_repeats_edits_and_items_that_share_a_title(run, site, tmp_path) -> None:
    same = ("Four convicted", "July 11, 2011", "Amnesty condemned the conviction of four prisoners")
    site.pages["/list/1"] = listing(
        article(same[0], "/four/", same[1], same[2]),
        article(same[0], "/four-2/", same[1], same[2]),
        article(same[0], "/four-report/", same[1], "See below."),
        article("Part 3", "/part-3/", "July 1, 2011", "Detention conditions"),
        article("Part 4", "/part-4/", "July 1, 2011", "Detention conditions"),
        article("Edited soon", "/edit/", "June 1, 2011", "As it was"),
    )
    crawl(run, site, tmp_path / "o")
    rows = frame(tmp_path / "o")
    assert len(rows) == 5
    merged = rows[rows["repeats"] == 2].iloc[0]
    assert list(merged["urls"]) == [site.url("/four/"), site.url("/four-2/")]

    site.pages["/list/1"] = site.pages["/list/1"].replace("Edited soon", "Edited now")
    crawl(run, site, tmp_path / "o")
    after = frame(tmp_path / "o")
    assert len(after) == 5
    edited = after[after["title"] == "Edited now"].iloc[0]
    assert edited["revision"] == 2
    assert edited["entry_id"] == rows[rows["title"] == "Edited soon"].iloc[0]["entry_id"]
    assert edited["warc_file"] != merged["warc_file"], "the page that proves the new title"


def test_scrapy_crawl_works_as_a_scrapy_user_expects(run, three_pages, tmp_path) -> None:
    root = Path(__file__).parent.parent
    done = run(
        "scrapy", "crawl", "amnesty_org",
        "-a", f"start_url={three_pages.url('/list/1')}", "-a", "since=2011-07-20",
        "-s", f"HARVESTER_OUTPUT={tmp_path / 'o'}", "-O", tmp_path / "x.jsonl", cwd=root,
    )  # fmt: skip
    assert done.code == 0, done.err
    items = [json.loads(line) for line in (tmp_path / "x.jsonl").read_text("utf-8").splitlines()]
    assert len(items) == 6
    assert items[0]["title"] == "Entry 1-0"
    assert items[0]["page_url"] == three_pages.url("/list/1")
    assert len(frame(tmp_path / "o")) == 6
    names = run("scrapy", "list", cwd=root)
    assert {"amnesty_org", "amnesty_usa", "belhelcom"} <= set(names.out.split())


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ((404, {}, b"no"), "HTTP 404"),
        ((200, {}, b"<html><body><p>Please log in</p></body></html>"), "no record"),
        ((200, {}, b""), "no record"),
        ((302, {"Location": "/list/9"}, b""), "redirect"),
        ((200, {"Content-Encoding": "gzip"}, b"not gzip at all"), "/list/9"),
    ],
)
def test_a_source_that_is_down_or_changed_ends_with_69(run, site, tmp_path, answer, says) -> None:
    site.pages["/list/9"] = answer
    done = crawl(run, site, tmp_path / "o", start="/list/9")
    assert done.code == 69
    assert says in done.err
    assert done.err.count("\n") == 1, "one line"
    assert len(ledgers(tmp_path / "o")) == 1


def test_one_failing_page_costs_the_others_nothing(run, three_pages, tmp_path) -> None:
    done = crawl(
        run,
        three_pages,
        tmp_path / "o",
        "--start-url",
        three_pages.url("/gone"),
        three_pages.url("/no"),
    )
    assert done.code == 69
    assert {"/gone", "/no"} <= set(three_pages.asked)
    assert len(frame(tmp_path / "o")) == 9


def test_a_host_that_does_not_exist(run, tmp_path) -> None:
    done = run(
        "harvester",
        "crawl",
        "belhelcom",
        "--start-url",
        "http://x.invalid/",
        "--output",
        tmp_path / "o",
    )
    assert done.code == 69
    assert "x.invalid" in done.err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_output_that_cannot_be_written(run, site, tmp_path) -> None:
    (tmp_path / "o").mkdir(mode=0o555)
    assert_cannot_create(run, site, tmp_path / "o")


def test_an_output_that_is_a_file(run, site, tmp_path) -> None:
    (tmp_path / "o").write_text("")
    assert_cannot_create(run, site, tmp_path / "o")


def assert_cannot_create(run, site, output) -> None:
    done = crawl(run, site, output)
    assert done.code == 73
    assert str(output) in done.err
    assert site.asked == [], "nothing is fetched that cannot be kept"


def test_a_damaged_table_is_named_and_nothing_is_built_on_it(run, three_pages, tmp_path) -> None:
    crawl(run, three_pages, tmp_path / "o")
    [table] = (tmp_path / "o" / "entries").glob("*/*.parquet")
    whole = table.read_bytes()
    table.write_bytes(whole[: len(whole) // 2])
    done = crawl(run, three_pages, tmp_path / "o", "--full")
    assert done.code == 65
    assert str(table) in done.err
    assert "check --repair" in done.err
    done = run("harvester", "check", "--output", tmp_path / "o")
    assert done.code == 65 and str(table) in done.err
    assert run("harvester", "check", "--repair", "--output", tmp_path / "o").code == 0
    [table] = (tmp_path / "o" / "entries").glob("*/*.parquet")
    whole = table.read_bytes()
    for broken in (whole[:-1] + b"x", whole[:9]):
        table.write_bytes(broken)
        assert run("harvester", "check", "--repair", "--output", tmp_path / "o").code == 0
        assert table.read_bytes() == whole
    table.unlink()
    assert run("harvester", "check", "--repair", "--output", tmp_path / "o").code == 0
    done = run("harvester", "check", "--output", tmp_path / "o")
    assert (done.code, done.err) == (0, "")
    assert len(frame(tmp_path / "o")) == 9


def test_robots_txt_is_obeyed(run, three_pages, tmp_path) -> None:
    robots = "User-agent: *\nDisallow: /list/"
    three_pages.pages["/robots.txt"] = (200, {"Content-Type": "text/plain"}, robots)
    done = crawl(run, three_pages, tmp_path / "o")
    assert done.code == 69
    assert "robots.txt" in done.err
    assert three_pages.asked == ["/robots.txt"]


def test_paging_that_never_ends(run, site, tmp_path) -> None:
    site.pages["/list/1"] = a_page(1, last=9)
    site.pages["/list/2"] = listing(
        *(article(f"B{i}", f"/b{i}", "July 2, 2011", "Text") for i in range(3)), next_page="/list/1"
    )
    assert crawl(run, site, tmp_path / "o").code == 0
    assert [p for p in site.asked if p.startswith("/list")] == ["/list/1", "/list/2"]


def test_the_next_page_of_another_host_is_not_fetched(run, site, tmp_path) -> None:
    site.pages["/list/1"] = a_page(1).replace('href="/list/2"', 'href="http://x.invalid/list/2"')
    assert crawl(run, site, tmp_path / "o").code == 0
    assert "another host" in ledgers(tmp_path / "o")[0]["course"]["stops"][0]["reason"]


def test_a_source_may_read_a_record_by_hand(run, three_pages, tmp_path) -> None:
    (tmp_path / "mine.py").write_text(
        "from harvester import Entry\n"
        "from harvester.spiders.amnesty_org import AmnestyOrg\n\n"
        "class Mine(AmnestyOrg):\n"
        "    name = 'mine'\n"
        "    def read_record(self, tag):\n"
        "        if '1-1' in tag.h1.get_text():\n"
        "            return None\n"
        "        return Entry(title=tag.h1.get_text(strip=True).upper(), url=tag.h1.a['href'],\n"
        "                     published_raw=tag.select_one('.post-byline').get_text())\n"
    )
    done = run(
        "scrapy", "runspider", tmp_path / "mine.py", "-a", f"start_url={three_pages.url('/list/1')}",
        "-a", "max_pages=1", "-s", f"HARVESTER_OUTPUT={tmp_path / 'o'}",
        cwd=Path(__file__).parent.parent,
    )  # fmt: skip
    assert done.code == 0, done.err
    rows = frame(tmp_path / "o")
    assert rows["title"].tolist() == ["ENTRY 1-0", "ENTRY 1-2"]
    assert rows["url"].tolist()[0] == three_pages.url("/news/entry-1-0/")
    assert rows["published"].dt.day.tolist() == [25, 23]


def test_json_report(run, three_pages, tmp_path) -> None:
    done = crawl(run, three_pages, tmp_path / "o", "--json")
    [report] = json.loads(done.out)
    assert (report["source"], report["exit"], report["rows"]) == ("amnesty_org", 0, 9)
    assert report["counts"]["new"] == 9
    assert len(report["pages"]) == 3
