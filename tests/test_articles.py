"""Dates that a listing does not print, from the entries' own pages: bounded, marked, and replayed."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from conftest import ROOT
from test_crawl import frame, ledgers

from harvester.page import Page
from harvester.parsers.article import article_date

SOURCE = """
from harvester.parsers.pattern import ListingPattern
from harvester.spider import ListingSpider


class Undated(ListingSpider):
    name = "undated"
    start_urls = ["{url}"]
    language = "en"
    timezone = "Europe/Minsk"
    pattern = ListingPattern(record="li.entry", title="a", link="a")
    article_dates = {most}
"""


def listing(numbers: list[int]) -> str:
    items = "".join(
        f'<li class="entry"><a href="/a/{n}">Court number {n} upholds it</a></li>' for n in numbers
    )
    return f"<html lang=en><body><ul>{items}</ul></body></html>"


def told(number: int) -> str:
    data = {
        "@type": "NewsArticle",
        "url": f"/a/{number}",
        "datePublished": f"2011-07-{number:02d}T09:30:00+03:00",
    }
    return f'<html><head><script type="application/ld+json">{json.dumps(data)}</script></head><body>x</body></html>'


@pytest.fixture
def undated(run, site, tmp_path):
    """``undated(most, *arguments)`` runs a command of a project with one source, whose pages are dated."""
    sources = tmp_path / "mine"
    sources.mkdir()
    (sources / "__init__.py").touch()
    (tmp_path / "scrapy.cfg").write_text("[settings]\ndefault = mine.settings\n")
    (sources / "settings.py").write_text(
        'from harvester.settings import *\nSPIDER_MODULES = ["mine.sources"]\nNEWSPIDER_MODULE = "mine.sources"\n'
    )
    (sources / "sources").mkdir()
    (sources / "sources" / "__init__.py").touch()
    site.pages["/list"] = listing([3, 2, 1])
    for n in range(1, 28):
        site.pages[f"/a/{n}"] = told(n)

    def command(most: int, name: str, *more: str | Path, code: int = 0):
        text = SOURCE.format(url=site.url("/list"), most=most)
        (sources / "sources" / "undated.py").write_text(text)
        done = run("harvester", name, "undated", *more, PYTHONPATH=str(ROOT))
        assert done.code == code, done.err
        return done

    return command


def articles(site) -> list[str]:
    return [path for path in site.asked if path.startswith("/a/")]


def test_dates_come_from_the_articles_of_new_entries_only(undated, site, tmp_path) -> None:
    output = tmp_path / "o"
    undated(10, "crawl", "--output", output)
    found = frame(output)
    assert found["published"].astype(str).tolist() == [f"2011-07-0{n} 09:30:00" for n in (3, 2, 1)]
    assert found["published_raw"].tolist() == [f"2011-07-0{n}T09:30:00+03:00" for n in (3, 2, 1)]
    assert found["published_record_id"].notna().all()
    assert len(articles(site)) == 3
    undated(10, "crawl", "--output", output)
    assert len(articles(site)) == 3  # they are known
    site.pages["/list"] = listing([4, 3, 2])
    undated(10, "crawl", "--output", output)
    assert articles(site)[3:] == ["/a/4"]
    assert (frame(output)["revision"] == 1).all()


def test_the_articles_are_archived_and_replayed(undated, site, tmp_path) -> None:
    output, again = tmp_path / "o", tmp_path / "again"
    site.pages["/a/2"] = (301, {"Location": "/moved"}, "")
    site.pages["/moved"] = told(2)
    undated(10, "crawl", "--output", output)
    live = frame(output)
    assert live["published"].notna().all()
    undated(0, "replay", "--archive", output, "--output", again)
    assert frame(again).equals(live)
    [entry] = live[live["title"].str.contains("number 2")]["entry_id"]
    undated_prove = undated(10, "check", "--output", output)
    assert undated_prove.err == ""
    assert len(entry) > 10


def test_so_many_a_run_and_what_is_missing_is_told(undated, site, tmp_path) -> None:
    output = tmp_path / "o"
    site.pages["/list"] = listing(list(range(9, 0, -1)))
    site.pages["/a/9"] = (404, {}, "gone")
    site.pages["/a/8"] = "<html><body>no date</body></html>"
    undated(4, "crawl", "--output", output)
    assert sorted(articles(site)) == ["/a/6", "/a/7", "/a/8", "/a/9"]
    found = frame(output)
    assert found["published"].notna().sum() == 2
    assert found["published_record_id"].notna().sum() == 2
    [finding] = ledgers(output)[-1]["course"]["findings"]
    assert finding["reason"].startswith("2 of 4 articles")


def test_without_the_option_no_article_is_fetched(undated, site, tmp_path) -> None:
    undated(0, "crawl", "--output", tmp_path / "o")
    assert articles(site) == []


@pytest.mark.parametrize(
    ("html", "day"),
    [
        ('<meta property="article:published_time" content="2011-07-05T10:00:00Z">', "2011-07-05"),
        ('<meta name="DC.date.issued" content="2011-07-05">', "2011-07-05"),
        ('<div itemscope><time itemprop="datePublished" datetime="2011-07-05">5 July</time></div>', "2011-07-05"),
        ('<script type="application/ld+json">[{"@type":"NewsArticle","url":"/x","datePublished":"2011-01-01"},'
         '{"@type":"NewsArticle","url":"/a","datePublished":"2011-07-05"}]</script>', "2011-07-05"),
        ('<script type="application/ld+json">[{"@type":"NewsArticle","url":"/x","datePublished":"2011-01-01"},'
         '{"@type":"NewsArticle","url":"/y","datePublished":"2011-07-05"}]</script>', None),
        ('<script type="application/ld+json">{"@type":"NewsArticle","dateModified":"2011-07-05"}</script>', None),
        ('<meta name="date" content="2031-07-05">', None),
        ('<meta name="date" content="July">', None),
        ("", None),
    ],
)  # fmt: skip
def test_what_an_article_says_of_its_date(html: str, day: str | None) -> None:
    body = f"<html><head>{html}</head><body><p>words</p></body></html>".encode()
    at = datetime(2026, 1, 1, tzinfo=UTC)
    found = article_date(Page("https://example.org/a", body, fetched_at=at), "en")
    assert (found and str(found.value.date())) == day
