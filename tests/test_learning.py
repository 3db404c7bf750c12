"""Learning a listing without selectors: layouts, what is no listing, hints, and real pages."""

from __future__ import annotations

import json
import os
from datetime import date
from pathlib import Path

import pytest

from harvester import ListingPattern, read_listing
from harvester.parsers.listing import Listing
from harvester.parsers.pattern import PatternError

URL = "https://example.org/news/"
CORPUS = os.environ.get("HARVESTER_CORPUS")
FIGURES = Path(__file__).parents[1] / "benchmarks" / "learning" / "figures.json"

SUBJECTS = (
    "Court upholds verdict against editor of a regional paper",
    "Five students released after a year in prison",
    "Committee publishes its yearly report on fair trials",
    "New rules for public meetings come into force",
    "Observers denied entry to three polling stations",
    "Lawyers lose their licences after a political trial",
    "Open letter on the death penalty handed to parliament",
    "Regional offices of two associations closed by order",
)
LEADS = (
    "The judges saw no reason to change the sentence, which was handed down last autumn in Hrodna.",
    "They had been convicted of taking part in a gathering that the authorities never allowed.",
    "It lists more than forty cases in which defendants could not see the evidence against them.",
    "Organisers have to ask for permission ten days ahead and to pay for the police themselves.",
    "No reasons were given; the observers say that they had been registered in good time.",
    "The ministry speaks of breaches of discipline, colleagues speak of a warning to all of them.",
    "More than two thousand people have signed it, among them writers and former judges.",
    "The members were told that the premises do not meet the fire regulations any more.",
)
DAYS = tuple(date(2011, 7, 28 - 3 * n) for n in range(8))
MENU = "".join(
    f"<li><a href='/{w}'>{w.title()}</a></li>" for w in ("about", "news", "reports", "contact")
)
ASIDE = "".join(
    f"<li><a href='/topics/{w}'>{w}</a></li>" for w in ("courts", "prisons", "elections")
)


def site(listing: str, *, main: str = "div") -> str:
    """A page around a listing, as sites have it."""
    return f"""<html lang="en"><head><title>News</title></head><body>
    <header><a href="/">Helsinki Watch</a><ul class="menu">{MENU}</ul></header>
    <{main} id="content"><h1>News</h1>{listing}
    <div class="pagination"><span class="current">1</span> <a href="?page=2">2</a>
    <a class="next" href="?page=2">Next</a></div></{main}>
    <div class="sidebar"><h3>Topics</h3><ul>{ASIDE}</ul>
    <form action="/search"><input name="q"><button>Search</button></form></div>
    <footer><a href="/imprint">Imprint</a> <a href="/privacy">Privacy policy</a></footer>
    </body></html>"""


def each(template: str, **more: str) -> str:
    """One copy of a template for each entry."""
    return "".join(
        template.format(n=n, title=title, lead=lead, day=day, words=f"{day:%B} {day.day}, {day.year}",
                        dots=f"{day:%d.%m.%Y}", **more)
        for n, (title, lead, day) in enumerate(zip(SUBJECTS, LEADS, DAYS, strict=True))
    )  # fmt: skip


LAYOUTS = {
    "cards": site(each(
        "<article class='card'><img src='/i{n}.jpg'><span class='tag'>Press Release</span>"
        "<h3><a href='/news/{n}-a-story'>{title}</a></h3>"
        "<time datetime='{day}'>{words}</time><p class='excerpt'>{lead} <a href='/news/{n}-a-story'>Read more</a></p></article>"
    )),
    "a card that is one link": site(each(
        "<a class='tile' href='/news/{n}-a-story'><div><h4>{title}</h4><p>{lead}</p><span>{words}</span></div></a>"
    )),
    "a bullet list with the date beside the link": site(
        "<ul class='list'>" + each("<li><a href='/news/{n}-a-story'>{title}</a>, {words}</li>") + "</ul>"
    ),
    "a table": site(
        "<table><tr><th>Date</th><th>Title</th><th>File</th></tr>"
        + each("<tr><td>{dots}</td><td>{title}</td><td><a href='/files/{n}.pdf'>PDF</a></td></tr>") + "</table>"
    ),
    "two rows of a table": site("<table>" + each(
        "<tr class='head'><td><a href='/news/{n}-a-story'>{title}</a></td></tr>"
        "<tr><td>{words}</td></tr>") + "</table>"
    ),
    "two rows of a table that look alike": site("<table>" + each(
        "<tr><td>{n}</td><td><a href='/news/{n}-a-story'>{title}</a></td></tr>"
        "<tr><td></td><td>{words}</td></tr>") + "</table>"
    ),
    "lines with the date before the link": site("<p>" + each(
        "{dots} <a href='/news/{n}-a-story'>{title}</a><br>") + "</p>"
    ),
    "a kicker in the heading": site(each(
        "<div class='box'><a href='/news/{n}-a-story'><h3><span class='place'>Minsk</span>"
        " <span class='head'>{title}</span></h3></a><p>{lead}</p><i>{dots}</i></div>"
    )),
    "rows that take turns, with links in both": site("<table>" + each(
        "<tr><td><a href='/news/{n}-a-story'>{title}</a></td></tr>"
        "<tr><td>{words} by <a href='/people/{n}'>Ann</a></td></tr>") + "</table>"
    ),
    "a date before each heading, called like its teaser": site("<div>" + each(
        "<p>{words}</p><h3><a href='/news/{n}-a-story'>{title}</a></h3><p>{lead}</p>") + "</div>"
    ),
    "a deadline beside the date": site(each(
        "<div class='job'><a href='/news/{n}-a-story'>{title}</a><div>Deadline: 16 June 2012</div>"
        "<div>Published: {words}</div></div>"
    )),
    "a table with another date": site(
        "<table><tr><th>Call</th><th>Closing date</th><th>Posted</th></tr>" + each(
        "<tr><td><a href='/news/{n}-a-story'>{title}</a></td><td>16 June 2012</td><td>{words}</td></tr>")
        + "</table>"
    ),
    "a long category before the title": site("".join(
        f"<div class='it'><a href='/c/{n % 2}'>{('Municipal administration of the whole region and the city', 'Education, science and culture')[n % 2]}</a>"
        f"<a href='/news/{n}-a-story'>{title}</a><span>{day:%d.%m.%Y}</span></div>"
        for n, (title, day) in enumerate(zip(SUBJECTS, DAYS, strict=True))
    )),
    "a definition list": site("<dl>" + each(
        "<dt><a href='/news/{n}-a-story'>{title}</a></dt><dd>{lead}</dd>") + "</dl>"
    ),
    "headings and paragraphs without a wrapper": site(each(
        "<h3><a href='/news/{n}-a-story'>{title}</a></h3><p class='date'>{words}</p><p>{lead}</p>"
    )),
    "a date before each heading": site(each(
        "<span class='date'>{words}</span><h2><a href='/news/{n}-a-story'>{title}</a></h2><p class='summary'>{lead}</p><hr>"
    )),
    "generated class names": site(each(
        "<div class='css-1x{n}f9 e1k'><div class='css-77a'><a class='css-k2 e9' href='/news/{n}-a-story'>{title}</a>"
        "<div class='css-0q'>{words}</div><div class='css-p0'>{lead}</div></div></div>"
    )),
    "day headings": site("".join(
        f"<h4 class='day'>{day:%B} {day.day}, {day.year}</h4><ul>" + "".join(
            f"<li><span>0{k}:15</span> <a href='/news/{n + k}-a-story'>{SUBJECTS[n + k]}</a></li>" for k in (0, 1)) + "</ul>"
        for n, day in list(enumerate(DAYS))[::2]
    )),
    "dates in three blocks": site(each(
        "<div class='row'><div class='when'><div>{day:%b}</div><div>{day:%d}</div><div>{day:%Y}</div></div>"
        "<div class='what'><h3><a href='/news/{n}-a-story'>{title}</a></h3><p>{lead}</p></div></div>"
    )),
    "the link is the date": site(each(
        "<li class='item'><strong>{title}</strong> <a href='/news/{n}-a-story'>{words}</a><p>{lead}</p></li>"
    )),
}  # fmt: skip
UNDATED = ("a definition list",)
WITHOUT_TEASERS = (
    "a bullet list with the date beside the link", "a table", "two rows of a table", "day headings",
    "two rows of a table that look alike", "lines with the date before the link",
    "rows that take turns, with links in both", "a deadline beside the date", "a table with another date",
    "a long category before the title",
)  # fmt: skip


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts(name) -> None:
    listing = read_listing(LAYOUTS[name], URL)
    assert [entry.title for entry in listing.entries] == list(SUBJECTS)
    if name == "a table":
        assert [e.url for e in listing.entries] == [
            f"https://example.org/files/{n}.pdf" for n in range(8)
        ]
    else:
        assert [e.url for e in listing.entries] == [
            f"https://example.org/news/{n}-a-story" for n in range(8)
        ]
    days = [DAYS[n - n % 2] for n in range(8)] if name == "day headings" else list(DAYS)
    if name not in UNDATED:
        assert [entry.day for entry in listing.entries] == days
    if name not in WITHOUT_TEASERS:
        assert [entry.teaser for entry in listing.entries] == list(LEADS)
    assert listing.next_url == "https://example.org/news/?page=2"
    assert listing.pattern is not None
    again = ListingPattern.from_toml(listing.pattern.to_toml())
    assert read_listing(LAYOUTS[name], URL, again).entries == listing.entries


STORY = "".join(f"<p>{lead} {other}</p>" for lead in LEADS for other in LEADS[:3])
NO_LISTINGS = {
    "an article": site(f"<article><h2>{SUBJECTS[0]}</h2><time>July 1, 2011</time>{STORY}</article>"),
    "an article with a few related ones": site(
        f"<article><h2>{SUBJECTS[0]}</h2>{STORY}</article><div class='related'><h4>Related</h4><ul>"
        + "".join(f"<li><a href='/news/{n}'>{title}</a></li>" for n, title in enumerate(SUBJECTS[1:4]))
        + "</ul></div>"
    ),
    "questions and answers": site("<h2>Questions</h2>" + each("<h3>{title}?</h3><p>{lead}</p>")),
    "a login wall": site(
        "<form method='post'><p>Please log in to read on.</p><label>Name <input name='u'></label>"
        "<label>Password <input type='password'></label><a href='/forgot'>Forgot password?</a></form>"
    ),
    "a search form": site(
        "<form><label>Words <input></label><select><option>All years</option><option>2011</option></select>"
        "<button>Search</button></form><p>Enter one or more words.</p>"
    ),
    "an error page": site("<h2>Page not found</h2><p>The page that you asked for is not here.</p>"),
    "a challenge": "<html><body><h1>Just a moment...</h1><p>Checking your browser</p></body></html>",
    "a menu and nothing else": f"<html><body><ul>{MENU}</ul></body></html>",
}  # fmt: skip


@pytest.mark.parametrize("name", NO_LISTINGS)
def test_what_is_no_listing_gives_no_entries_and_says_so(name) -> None:
    listing = read_listing(NO_LISTINGS[name], URL)
    assert listing.entries == () and listing.pattern is None
    assert listing.evidence.reasons


def test_an_ambiguous_column_is_settled_by_what_attributes_say() -> None:
    card = "<div class='c'><h3><a href='/{n}-x'>{title}</a></h3><time datetime='2011-0{m}-05'>{m}/5/2011</time></div>"
    cards = "".join(card.format(n=n, title=title, m=n + 1) for n, title in enumerate(SUBJECTS))
    listing = read_listing(site(cards), URL)
    assert [entry.day for entry in listing.entries] == [date(2011, n + 1, 5) for n in range(8)]
    assert listing.pattern is not None and listing.pattern.date_format == "%m/%d/%Y"


def test_an_ambiguous_column_is_settled_by_what_the_metadata_says() -> None:
    items = "".join(
        f"<li><a href='/{n}-x'>{title}</a> <i>{n + 1}/5/2011</i></li>"
        for n, title in enumerate(SUBJECTS)
    )
    told = [
        {"@type": "NewsArticle", "url": f"/{n}-x", "datePublished": f"2011-0{n + 1}-05T10:00:00Z"}
        for n in range(8)
    ]
    script = f"<script type='application/ld+json'>{json.dumps({'@graph': told})}</script>"
    page = site(f"<ul>{items}</ul>{script}")
    days = [date(2011, n + 1, 5) for n in range(8)]
    assert [entry.day for entry in read_listing(page, URL).entries] == days
    for broken in ("{", "[" * 5000, '{"@type": ["NewsArticle", 7], "url": {"@id": 3}}', "null"):
        page = site(f"<ul>{items}</ul><script type='application/ld+json'>{broken}</script>")
        assert [entry.title for entry in read_listing(page, URL).entries] == list(SUBJECTS)


@pytest.mark.parametrize(
    "card",
    [
        "<div itemscope itemtype='https://schema.org/NewsArticle'><a itemprop='url' href='/{n}-x'>{title}</a>"
        "<meta itemprop='datePublished' content='2011-0{m}-05T10:00:00Z'><i>{m}/5/2011</i></div>",
        "<div class='hentry'><a rel='bookmark' href='/{n}-x'>{title}</a>"
        "<abbr class='published' title='2011-0{m}-05T10:00:00Z'></abbr><i>{m}/5/2011</i></div>",
    ],
)
def test_an_ambiguous_column_is_settled_by_marks_in_the_page(card) -> None:
    cards = "".join(card.format(n=n, title=title, m=n + 1) for n, title in enumerate(SUBJECTS))
    listing = read_listing(site(cards), URL)
    assert [entry.day for entry in listing.entries] == [date(2011, n + 1, 5) for n in range(8)]


def test_a_title_that_is_cut_is_read_whole_where_the_link_says_it() -> None:
    items = each(
        "<li><a href='/news/{n}-a-story' title='{title}'>{title:.30}...</a> <i>{dots}</i></li>"
    )
    listing = read_listing(site(f"<ul>{items}</ul>"), URL)
    assert [entry.title for entry in listing.entries] == list(SUBJECTS)


def test_missing_cells_stay_missing() -> None:
    cards = each(
        "<div class='c'><h3><a href='/{n}-x'>{title}</a></h3><p class='d'>{words}</p><p class='t'>{lead}</p></div>"
    )
    cards = cards.replace(f"<p class='t'>{LEADS[2]}</p>", "").replace(
        f"<p class='d'>July {DAYS[4].day}, 2011</p>", ""
    )
    listing = read_listing(site(cards), URL)
    assert [entry.teaser for entry in listing.entries] == [
        None if n == 2 else LEADS[n] for n in range(8)
    ]
    assert [entry.day for entry in listing.entries] == [
        None if n == 4 else DAYS[n] for n in range(8)
    ]


# ------------------------------------------------------------------ hints
def test_a_hint_is_kept_and_the_rest_is_learned_around_it() -> None:
    page = LAYOUTS["cards"]
    hinted = read_listing(page, URL, hint={"title": ".excerpt", "date": "time::attr(datetime)"})
    assert hinted.pattern is not None
    assert (hinted.pattern.title, hinted.pattern.date) == (".excerpt", "time::attr(datetime)")
    assert hinted.pattern.teaser != ".excerpt"
    assert [entry.day for entry in hinted.entries] == list(DAYS)


def test_a_hinted_record_needs_to_look_like_nothing_else() -> None:
    listing = read_listing(LAYOUTS["cards"], URL, hint={"record": ".menu li"})
    assert [entry.title for entry in listing.entries] == ["About", "News", "Reports", "Contact"]
    assert read_listing(LAYOUTS["cards"], URL, hint={"record": ".nowhere"}).entries == ()


@pytest.mark.parametrize(
    "hint",
    [{"title": "h3 a["}, {"record": "div..x"}, {"record": ".card::attr(id)"}, {"foo": "x"}, {"title": None},
     {"next_page": "::attr(href)"}, {"date_format": "garbage"}, {"flat": "yes"}],
)  # fmt: skip
def test_a_bad_hint_is_explained(hint) -> None:
    with pytest.raises(PatternError, match=next(iter(hint))):
        read_listing(LAYOUTS["cards"], URL, hint=hint)


@pytest.mark.parametrize(
    "hint", [{"title": ".nope"}, {"record": ".nope"}, {"date": ".no::attr(x)"}]
)
def test_a_hint_that_finds_nothing_says_so(hint) -> None:
    evidence = read_listing(LAYOUTS["cards"], URL, hint=hint).evidence
    assert evidence.confidence == 0
    assert any("finds no" in reason for reason in evidence.reasons)


def test_a_flat_hint_works_in_several_columns_of_a_page() -> None:
    blocks = each("<h3><a href='/news/{n}-a-story'>{title}</a></h3><p>{lead}</p>").split("<h3>")[1:]
    halves = ("".join(f"<h3>{block}" for block in part) for part in (blocks[:4], blocks[4:]))
    page = site("".join(f"<div class='col'>{half}</div>" for half in halves))
    listing = read_listing(page, URL, hint={"record": ".col h3", "flat": True})
    assert [entry.teaser for entry in listing.entries] == list(LEADS)


# ------------------------------------------------------------------ what must not be invented
def test_a_heading_without_a_date_ends_the_day_before_it() -> None:
    days = ["11 July 2011", "10 July 2011", "Undated", "8 July 2011"]
    blocks = "".join(
        f"<h4>{day}</h4><ul>"
        + "".join(f"<li><a href='/{n}{k}-x'>{SUBJECTS[2 * n + k]}</a></li>" for k in (0, 1))
        + "</ul>"
        for n, day in enumerate(days)
    )
    listing = read_listing(site(blocks), URL)
    want = [date(2011, 7, d) if d else None for d in (11, 11, 10, 10, 0, 0, 8, 8)]
    assert [entry.day for entry in listing.entries] == want


def test_a_date_below_an_entry_is_not_the_next_ones() -> None:
    years = "".join(
        f"<h2>{year}</h2><dl>"
        + "".join(
            f"<dt><a href='/{year}/{n}-x'>{title}</a></dt><dd>{20 - n} July {year}</dd>"
            for n, title in enumerate(SUBJECTS[:3])
        )
        + "</dl>"
        for year in (2011, 2010, 2009)
    )
    listing = read_listing(site(years), URL)
    assert [entry.title for entry in listing.entries] == list(SUBJECTS[:3]) * 3
    for place, entry in enumerate(listing.entries):
        right = date(2011 - place // 3, 7, 20 - place % 3)
        assert entry.day in (right, None)


def test_a_template_among_the_cards_is_no_entry() -> None:
    template = "<div class='c' style='display:none'><h3><a href='#'>{{title}}</a></h3><p>{{lead}}</p></div>"
    cards = each("<div class='c'><h3><a href='/{n}-x'>{title}</a></h3><p>{lead}</p></div>")
    listing = read_listing(site(template + cards), URL)
    assert [entry.title for entry in listing.entries] == list(SUBJECTS)


def test_day_headings_in_a_page_of_plain_lists() -> None:
    days = "".join(
        f"<h2>{day:%d %B %Y}</h2><ul>"
        + "".join(f"<li><a href='/news/{n + k}-x'>{SUBJECTS[n + k]}</a></li>" for k in (0, 1))
        + "</ul>"
        for n, day in list(enumerate(DAYS))[::2]
    )
    page = f"<nav><ul>{MENU}</ul></nav><main>{days}</main><footer><ul>{ASIDE}</ul></footer>"
    listing = read_listing(f"<html lang=en><body>{page}</body></html>", URL)
    assert [entry.title for entry in listing.entries] == list(SUBJECTS)
    assert [entry.day for entry in listing.entries] == [DAYS[n - n % 2] for n in range(8)]


def test_dates_that_may_be_the_next_ones_are_not_read() -> None:
    lines = each("{dots} - <a href='/news/{n}-x'>{title}</a><br>").replace("28.07.2011 - ", "", 1)
    listing = read_listing(site(f"<p>{lines}</p>"), URL)
    assert [entry.title for entry in listing.entries] == list(SUBJECTS)
    assert {entry.day for entry in listing.entries} == {None}


def test_short_titles_in_characters_that_say_much() -> None:
    titles = "市政府召开经济工作会议 全市安全生产会议召开 我市举行招商推介会 市领导调研重点项目 春季植树活动举行".split()
    items = "".join(
        f"<li><span>[05-1{n}]</span><a href='/art/{n}.html'>{title}</a></li>"
        for n, title in enumerate(titles)
    )
    listing = read_listing(site(f"<ul class='list'>{items}</ul>").replace('"en"', '"zh"'), URL)
    assert [entry.title for entry in listing.entries] == titles


def test_an_advertisement_among_the_cards_is_no_entry() -> None:
    card = "<div class='x'><h3><a href='/{n}-x'>{title}</a></h3><i>{dots}</i></div>"
    advert = "<div class='x'><a href='/go'>Here</a></div>"
    cards = each(card).replace(
        "<div class='x'><h3><a href='/4-x'>", advert + "<div class='x'><h3><a href='/4-x'>"
    )
    listing = read_listing(site(cards), URL)
    assert [entry.title for entry in listing.entries] == list(SUBJECTS)


def test_how_long_ago_something_was_is_its_date() -> None:
    listing = read_listing(
        site(each("<li><a href='/{n}-x'>{title}</a> <b class='ago'>{n} hours ago</b></li>")), URL
    )
    assert [entry.published_raw for entry in listing.entries] == [
        f"{n} hours ago" for n in range(8)
    ]
    assert [entry.published for entry in listing.entries] == [None] * 8  # nobody said when


def test_tags_of_word_processors_do_no_harm() -> None:
    cards = each("<div><o:p><a href='/{n}-x'>{title}</a></o:p> <st1:date>{words}</st1:date></div>")
    listing = read_listing(site(cards), URL)
    assert [entry.title for entry in listing.entries] == list(SUBJECTS)


@pytest.mark.parametrize(
    ("pager", "url"),
    [
        ('<li class="disabled"><a href="?page=4">Next</a></li>', None),
        ('<a rel="next" href="http://evil.example/news?page=2">Next</a>', None),
        ('<a href="?year=2010">‹</a> 2011 <a href="?year=2012">›</a>', None),
        ('<strong>2</strong> <a href="?page=3">3</a> <a href="?page=4">4</a> <a class="next" href="?page=11">next</a>', "?page=3"),
        ('<a class="next" href="/events/12">Next: Summer fair</a>', None),
        ('<div class="nav-links"><a href="/t/7">Next thread</a></div>', None),
        ('<div class="comments-nav"><a href="?cpage=2">2</a></div>', None),
        ('<div class="pagination"><a href="?page=3"><i class="fa fa-chevron-right"></i></a></div>', "?page=3"),
    ],
)  # fmt: skip
def test_pagers(pager, url) -> None:
    found = read_listing(
        f"<body>{pager}</body>", URL + "?page=2", ListingPattern(record=".r")
    ).next_url
    assert found == (URL + url if url else None)


# ------------------------------------------------------------------ real pages
def pages() -> list[tuple[str, str, dict[str, object]]]:
    if not CORPUS:
        pytest.skip("HARVESTER_CORPUS names no corpus")
    from benchmarks.learning.truth import examples

    return [(example.name, example.html, example.truth) for example in examples()]


def test_real_pages_are_read_as_well_as_the_figures_say() -> None:
    """No figure may drop; see benchmarks/learning/README.md for how they are made."""
    listed = pages()
    from benchmarks.learning.truth import scorer

    rows, differ = [], []
    for name, html, truth in listed:
        listing: Listing = read_listing(html, str(truth["url"]))
        rows.append(scorer().score_page(truth, listing.to_dict()))
        if listing.pattern:
            again = ListingPattern.from_toml(listing.pattern.to_toml())
            if read_listing(html, str(truth["url"]), again).entries != listing.entries:
                differ.append(name)
    assert not differ
    figures = {name: value for name, (value, _) in scorer().summarise(rows).items()}
    told = json.loads(FIGURES.read_text("utf-8"))["dev"]
    assert {n: v for n, v in told.items() if n in figures and figures[n] < v - 0.005} == {}
