"""A page that is not what it was: noticed, healed or held, and never published wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from conftest import article, listing
from hypothesis import given
from hypothesis import strategies as st
from test_crawl import crawl, frame, ledgers

from pipelines.comparison import compare
from pipelines.entry import Entry
from pipelines.garbled import is_garbled

TITLES = [f"Court {n} upholds the sentence of activist number {n}" for n in range(40)]


def entries(first: int, last: int) -> list[dict[str, str]]:
    return [
        {
            "title": TITLES[n],
            "url": f"/news/{n}",
            "date": f"{n % 28 + 1:02d}.{1 + n // 28:02d}.2011",
            "teaser": f"In case {n} the judges saw no reason to change what was handed down.",
        }
        for n in range(last, first - 1, -1)
    ]


def old_look(shown: list[dict[str, str]]) -> str:
    """A listing as it was."""
    cards = "".join(
        f'<div class="item"><h3 class="head"><a href="{e["url"]}">{e["title"]}</a></h3>'
        f'<span class="when">{e["date"]}</span><p class="sum">{e["teaser"]}</p></div>'
        for e in shown
    )
    return f"<html lang=en><body><main>{cards}</main></body></html>"


def new_look(shown: list[dict[str, str]], date: bool = True) -> str:
    """The same after a redesign: other tags, other names, another order."""
    cards = "".join(
        f'<li class="card"><time class="c-time">{e["date"] if date else ""}</time>'
        f'<div class="c-box"><a class="c-link" href="{e["url"]}"><strong>{e["title"]}</strong></a>'
        f'<div class="c-text">{e["teaser"]}</div></div></li>'
        for e in shown
    )
    return f"<html lang=en><body><header><a href=/>Home</a></header><ul class=cards>{cards}</ul></body></html>"


def learned(run, site, output: Path, *more: str | Path, code: int = 0):
    """A crawl of the source that has no pattern of its own."""
    done = run(
        "harvester",
        "crawl",
        "belhelcom",
        "--start-url",
        site.url("/list"),
        "--output",
        output,
        *more,
    )
    assert done.code == code, done.err
    return done


def rows(output: Path) -> dict[str, str]:
    found = frame(output)
    return dict(zip(found["title"], found["published"].astype(str), strict=True))


def last(output: Path) -> dict:
    return ledgers(output)[-1]


def test_a_redesign_heals_and_is_told(run, site, tmp_path) -> None:
    output = tmp_path / "o"
    site.pages["/list"] = old_look(entries(1, 12))
    learned(run, site, output)
    before = frame(output)
    site.pages["/list"] = new_look(entries(3, 14))
    done = learned(run, site, output)
    assert done.err == ""
    after = frame(output)
    assert set(after["title"]) == set(TITLES[1:15])
    assert after["published"].notna().all()
    assert (after["revision"] == 1).all()  # nothing but the looks has changed
    assert set(before["entry_id"]) <= set(after["entry_id"])
    [finding] = last(output)["course"]["findings"]
    assert finding["severity"] == "notice"
    assert "learned anew" in finding["reason"]
    told = run("harvester", "status", "belhelcom", "--json", "--output", output)
    assert told.code == 0
    assert "learned anew" in json.loads(told.out)[0]["notices"][0]
    told = run("harvester", "sources", "belhelcom", "--diff", "--output", output)
    assert "-title = " in told.out
    assert "+title = " in told.out
    learned(run, site, output)  # what has healed is usual now
    assert last(output)["course"]["findings"] == []


def test_what_is_gone_is_held_until_a_person_accepts(run, site, tmp_path) -> None:
    output = tmp_path / "o"
    site.pages["/list"] = old_look(entries(1, 12))
    learned(run, site, output)
    before = frame(output)
    site.pages["/list"] = new_look(entries(3, 14), date=False)
    done = learned(run, site, output, code=69)
    [line] = done.err.splitlines()
    assert "dates" in line
    assert "sources --diff" in line
    assert frame(output).equals(before)
    assert last(output)["counts"]["entries"] == 0
    assert all(not stop["whole"] for stop in last(output)["course"]["stops"])
    told = run("harvester", "sources", "belhelcom", "--diff", "--output", output)
    assert "not published" in told.out
    assert "--accept" in told.out
    learned(run, site, output, code=69)  # and again, every hour
    assert run("harvester", "status", "belhelcom", "--output", output).code == 69
    learned(run, site, output, "--accept")
    assert set(frame(output)["title"]) == set(TITLES[1:15])
    learned(run, site, output)
    assert last(output)["course"]["findings"] == []


def test_a_replay_decides_as_the_runs_did(run, site, tmp_path) -> None:
    output = tmp_path / "o"
    pages = [
        old_look(entries(1, 12)),
        old_look(entries(2, 13)),
        new_look(entries(3, 14), date=False),  # held
        new_look(entries(4, 15)),  # healed
        "<html><body>We need your consent</body></html>",
        new_look(entries(5, 16)),
    ]
    for page in pages:
        site.pages["/list"] = page
        run("harvester", "crawl", "belhelcom", "--start-url", site.url("/list"), "--output", output)
    live = frame(output)
    assert len(live) == 16
    done = run("harvester", "replay", "belhelcom", "--output", output)
    assert (done.code, done.err) == (0, "")  # the alarms have been given
    assert frame(output).equals(live)
    done = run(
        "harvester", "replay", "belhelcom", "--archive", output, "--output", tmp_path / "again"
    )
    assert done.code == 65  # here nobody has heard of them
    assert frame(tmp_path / "again").equals(live)
    course = last(tmp_path / "again")["course"]
    assert [f["severity"] for f in course["findings"]].count("fatal") > 0


def test_a_killed_run_is_held_as_it_would_have_been(run, site, tmp_path) -> None:
    output = tmp_path / "o"
    site.pages["/list"] = old_look(entries(1, 12))
    learned(run, site, output)
    before = frame(output)
    site.pages["/list"] = new_look(entries(3, 14), date=False)
    learned(run, site, output, code=69)
    newest = max((output / "runs").glob("*.json"))
    newest.unlink()  # it died before it was published
    site.pages["/list"] = old_look(entries(1, 12))
    done = learned(run, site, output, code=69)
    assert "not what it was" in done.err
    assert frame(output)["title"].tolist() == before["title"].tolist()


@pytest.mark.parametrize(
    "page",
    [
        "<html><body>" + "<p>Please log in</p><input type=password>" * 3 + "</body></html>",
        "<html><head><title>404 not found</title></head><body><h1>404</h1></body></html>",
        "hello world",
        old_look([]),
    ],
    ids=["login", "soft 404", "11 bytes", "empty"],
)
def test_what_stands_in_its_place_is_an_alarm(run, site, tmp_path, page: str) -> None:
    output = tmp_path / "o"
    site.pages["/list"] = old_look(entries(1, 12))
    learned(run, site, output)
    before = frame(output)
    site.pages["/list"] = page
    done = learned(run, site, output, code=69)
    assert len(done.err.splitlines()) == 1
    assert frame(output).equals(before)
    site.pages["/list"] = old_look(entries(2, 13))
    learned(run, site, output)
    assert len(frame(output)) == 13


def test_another_list_in_its_place_is_held(run, site, tmp_path) -> None:
    output = tmp_path / "o"
    site.pages["/list"] = old_look(entries(1, 12))
    learned(run, site, output)
    shop = [
        {**e, "url": f"https://shop.example/{n}", "title": f"Lamp {n} for the garden, now cheaper"}
        for n, e in enumerate(entries(20, 31))
    ]
    site.pages["/list"] = old_look(shop)
    done = learned(run, site, output, code=69)
    assert "none on their hosts" in done.err
    assert len(frame(output)) == 12


def test_garbled_text_is_never_published(run, site, tmp_path) -> None:
    output = tmp_path / "o"
    titles = {e["url"]: f"Суд № {n} оставил приговор в силе" for n, e in enumerate(entries(1, 12))}
    shown = [{**e, "title": titles[e["url"]]} for e in entries(1, 12)]
    site.pages["/list"] = old_look(shown)
    learned(run, site, output)
    garbled = old_look(shown).encode().decode("latin-1").encode()
    site.pages["/list"] = garbled
    done = learned(run, site, output, code=69)
    assert "garbled" in done.err
    assert not frame(output)["title"].map(is_garbled).any()


def test_a_pattern_in_the_file_heals_and_says_so_until_it_is_mended(run, site, tmp_path) -> None:
    """amnesty_org has a pattern; its pages here are of that layout, then of another."""
    output = tmp_path / "o"
    shown = entries(1, 12)
    dates = [f"May {int(e['date'][:2])}, 2011" for e in shown]
    site.pages["/list/1"] = listing(
        "".join(
            article(e["title"], e["url"], d, e["teaser"]) for e, d in zip(shown, dates, strict=True)
        )
    )
    assert crawl(run, site, output).code == 0
    changed = [{**e, "date": d} for e, d in zip(shown, dates, strict=True)]
    for _ in range(2):
        site.pages["/list/1"] = new_look(changed) + "<!-- x -->"
        assert crawl(run, site, output).code == 0
        reasons = [f["reason"] for f in last(output)["course"]["findings"]]
        assert any("source's file" in reason for reason in reasons)
    assert len(frame(output)) == 12
    told = run("harvester", "sources", "--diff", "amnesty_org", "--output", output)
    assert '-record = "article.post"' in told.out
    site.pages["/list/1"] = listing(
        "".join(
            article(e["title"], e["url"], d, e["teaser"]) for e, d in zip(shown, dates, strict=True)
        )
    )
    assert crawl(run, site, output).code == 0  # the site has gone back: so does the reading
    assert last(output)["course"]["findings"] == []


def test_a_quiet_source_is_not_a_broken_one(run, site, tmp_path) -> None:
    output = tmp_path / "o"
    site.pages["/list"] = old_look(entries(1, 12))
    for _ in range(3):
        learned(run, site, output)
        assert last(output)["course"]["findings"] == []
    site.pages["/list"] = old_look(entries(2, 13)) + "<!-- a word in the footer -->"
    learned(run, site, output)
    assert last(output)["course"]["findings"] == []


def entry(number: int, title: str | None = None) -> Entry:
    return Entry(title=title or TITLES[number], url=f"https://example.org/news/{number}")


@given(st.lists(st.integers(0, 39), unique=True), st.lists(st.integers(0, 39), unique=True))
def test_comparison_counts_every_entry_once(old: list[int], new: list[int]) -> None:
    found = compare([entry(n) for n in old], [entry(n) for n in new])
    assert found.before == len(old)
    assert found.known == len(set(old) & set(new))
    assert found.strange == len(set(new) - set(old))
    assert found.title.same == found.known


def test_a_record_that_stands_twice_and_a_date_without_its_time_are_what_they_were() -> None:
    at = datetime(2011, 7, 1, 9, 30)
    old = [replace(entry(n), published=at, published_precision="minute") for n in (1, 2, 3)]
    old.append(replace(old[0], teaser="Another part of it"))
    new = [replace(e, published=datetime(2011, 7, 1), published_precision="day") for e in old]
    found = compare(old, old)
    assert (found.known, found.date.same) == (4, 4)
    found = compare(old[:3], new[:3])
    assert (found.known, found.date.same, found.date.changed) == (3, 3, 0)


def test_a_listing_forgets_its_last_entries_first() -> None:
    every = [entry(n) for n in range(9, 0, -1)]
    assert compare(every, every[:5]).skipped == 0
    assert compare(every, [every[0], *every[3:]]).skipped == 2
    elsewhere = [replace(e, url=f"https://example.org/by/{n}") for n, e in enumerate(every)]
    assert compare(every, elsewhere).moved == 9


@given(st.text(alphabet="абвгдежзийклмнопрстуфхцчшщъыьэюяёўі АБВГДЕ", min_size=20))
def test_sound_cyrillic_is_not_garbled_and_its_misreadings_are(text: str) -> None:
    words = " ".join(text.lower().split()).capitalize()
    if len(words) < 12 or max(map(len, words.split())) < 5:
        return
    assert not is_garbled(words)
    assert is_garbled(words.encode().decode("latin-1"))
    assert is_garbled(words.encode("utf-8").decode("cp1252", "replace"))


def test_a_person_is_believed(run, site, tmp_path) -> None:
    """A new pattern in a source's file makes void what was usual, whatever it reads."""
    sources = tmp_path / "mine"
    (sources / "sources").mkdir(parents=True)
    (tmp_path / "scrapy.cfg").write_text("[settings]\ndefault = mine.settings\n")
    (sources / "settings.py").write_text(
        "from harvester.settings import *\n"
        'SPIDER_MODULES = ["mine.sources"]\nNEWSPIDER_MODULE = "mine.sources"\n'
    )
    for package in (sources, sources / "sources"):
        (package / "__init__.py").touch()
    site.pages["/list"] = old_look(entries(1, 12))

    def crawl_with(fields: str) -> dict:
        (sources / "sources" / "news.py").write_text(
            "from harvester.parsers.pattern import ListingPattern\n"
            "from harvester.spider import ListingSpider\n\n\n"
            "class News(ListingSpider):\n"
            f'    name = "news"\n    start_urls = ["{site.url("/list")}"]\n    {fields}\n'
        )
        done = run("harvester", "crawl", "news", "--output", tmp_path / "o")
        assert (done.code, done.err) == (0, "")
        return last(tmp_path / "o")["course"]

    crawl_with("language = 'en'")
    site.pages["/list"] = old_look(entries(1, 12)) + "<!-- 1 -->"
    course = crawl_with('pattern = ListingPattern(record=".item", title="h3")')
    assert course["findings"] == []
    assert course["pages"][0]["vitals"]["dated"] == 0
    site.pages["/list"] = old_look(entries(1, 12)) + "<!-- 2 -->"
    course = crawl_with('hint = {"teaser": ".when"}')
    assert course["pages"][0]["pattern"].count('teaser = ".when"') == 1


def test_what_was_held_can_be_published_later(run, site, tmp_path) -> None:
    output = tmp_path / "o"
    site.pages["/list"] = old_look(entries(1, 12))
    learned(run, site, output)
    site.pages["/list"] = new_look(entries(5, 16), date=False)
    learned(run, site, output, code=69)
    site.pages["/list"] = old_look(entries(9, 20))
    learned(run, site, output)
    assert len(frame(output)) == 20
    site.pages["/list"] = new_look(entries(14, 25), date=False)
    learned(run, site, output, code=69)
    site.pages["/list"] = new_look(entries(24, 35), date=False)
    learned(run, site, output, code=69)
    done = run("harvester", "replay", "belhelcom", "--accept", "--output", output)
    assert (done.code, done.err) == (0, "")
    assert len(frame(output)) == 35


def test_a_listing_that_redirects_has_a_past_too(run, site, tmp_path) -> None:
    output = tmp_path / "o"
    site.pages["/list"] = old_look(entries(1, 12))
    learned(run, site, output)
    shop = [
        {**e, "url": f"/lamps/{n}", "title": f"Lamp {n} for the garden"}
        for n, e in enumerate(entries(20, 31))
    ]
    site.pages["/list"] = (302, {"Location": "/"}, "")
    site.pages["/"] = new_look(shop, date=False)
    learned(run, site, output, code=69)
    assert len(frame(output)) == 12
    done = run(
        "harvester", "replay", "belhelcom", "--archive", output, "--output", tmp_path / "again"
    )
    assert done.code == 65
    assert frame(tmp_path / "again").equals(frame(output))


def test_a_broken_listing_costs_the_others_of_its_source_nothing(run, site, tmp_path) -> None:
    output = tmp_path / "o"
    two = ("--start-url", site.url("/a"), site.url("/b"))
    other = [{**e, "url": f"/b{e['url']}", "title": f"B: {e['title']}"} for e in entries(1, 12)]
    site.pages |= {"/a": old_look(entries(1, 12)), "/b": old_look(other)}
    assert run("harvester", "crawl", "belhelcom", *two, "--output", output).code == 0
    site.pages |= {"/a": old_look(entries(3, 14)), "/b": new_look(other, date=False)}
    assert run("harvester", "crawl", "belhelcom", *two, "--output", output).code == 69
    assert len(frame(output)) == 26
    run("harvester", "crawl", "belhelcom", "--start-url", site.url("/a"), "--output", output)
    told = run("harvester", "sources", "belhelcom", "--diff", "--output", output)
    assert "not published" in told.out  # still


def test_garbled_pages_further_on_are_left_out(run, site, tmp_path) -> None:
    output = tmp_path / "o"
    titles = [
        {**e, "title": f"Суд оставил приговор номер {n}"} for n, e in enumerate(entries(1, 20))
    ]
    pager = '<a rel="next" href="/list/2">Next</a></body>'
    site.pages["/list"] = old_look(titles[:10]).replace("</body>", pager)
    site.pages["/list/2"] = old_look(titles[10:]).encode().decode("latin-1").encode()
    learned(run, site, output, code=69)
    assert len(frame(output)) == 10
