"""Reading a page: encodings, patterns, fields, the next page."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harvester import ListingPattern, read_listing
from harvester.page import Page, decode
from harvester.parsers.fields import cut_teaser
from harvester.parsers.pattern import PatternError

URL = "https://example.org/news/"
PATTERN = ListingPattern(record=".r", title="h3", date="time", teaser="p", kind=".k")


def read(body: str, pattern=PATTERN, url=URL, **more):
    return read_listing(f"<html><body>{body}</body></html>", url, pattern, **more)


# ------------------------------------------------------------------ encodings
@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ("Беларусь".encode(), ""),
        ("Беларусь".encode(), "text/html; charset=windows-1251"),  # the label is wrong
        (b"\xef\xbb\xbf" + "Беларусь".encode(), ""),
        ("Беларусь".encode("cp1251"), "text/html; charset=windows-1251"),
        (b'<meta charset="windows-1251">' + "Беларусь".encode("cp1251"), "text/html"),
        (b'<meta charset="koi8-r">' + "Беларусь".encode("koi8-r"), ""),
        ("\ufeffБеларусь".encode("utf-16-le"), ""),
    ],
)
def test_the_encoding_is_settled(body, content_type) -> None:
    assert decode(body, content_type).endswith("Беларусь")


@given(
    st.binary(max_size=300), st.sampled_from(["", "text/html; charset=nonsense", "charset=utf-16"])
)
def test_any_bytes_become_text(body, content_type) -> None:
    assert isinstance(Page(URL, body, headers={"content-type": content_type}).text, str)


def test_characters_cut_in_half_do_not_change_the_encoding() -> None:
    teaser = "Zażółć gęślą jaźń, а па-беларуску гэта".encode()
    body = b"".join(b"<p>" + teaser[:n] + b"</p>" for n in range(40, 60))
    text = decode(body, "text/html; charset=utf-8")
    assert text.count("Zażółć gęślą") == 20


@pytest.mark.parametrize("label", ["undefined", "idna", "punycode", "rot13", "hex", "base64", "\0"])
def test_labels_that_are_no_charsets(label) -> None:
    assert "caf" in decode(b"caf\xe9 " * 20, f"text/html; charset={label}")


def test_latin_1_means_what_browsers_take_it_for() -> None:
    assert decode("“ja”".encode("cp1252"), "text/html; charset=iso-8859-1") == "“ja”"


# ------------------------------------------------------------------ fields
def test_a_record_says_what_it_prints() -> None:
    [entry] = read(
        """<div class="r"><span class="k"><svg><title>Sheet of paper</title></svg> Report</span>
        <h3><a href="/one/?a=1">A
        title <b>in</b>&nbsp;bold</a></h3><time>July 11, 2011</time>
        <p>First line<br>second <i>line</i> <script>no()</script>[…]</p></div>"""
    ).entries
    assert entry.title == "A title in bold"
    assert entry.url == "https://example.org/one/?a=1"
    assert entry.kind == "Report"
    assert (entry.teaser, entry.teaser_truncated) == ("First line second line", True)
    assert entry.published_raw == "July 11, 2011"
    assert str(entry.day) == "2011-07-11"


def test_what_is_not_there_is_null() -> None:
    [entry] = read('<div class="r"><p>Only a teaser</p></div>').entries
    assert (entry.title, entry.url, entry.published, entry.published_raw, entry.kind) == (None,) * 5
    assert read('<div class="r"><p>Only a teaser</p></div>').to_dict() == {
        "entries": [
            {"title": None, "url": None, "date": None, "teaser": "Only a teaser", "kind": None}
        ],
        "next_url": None,
    }


@pytest.mark.parametrize(
    ("printed", "teaser", "truncated"),
    [
        ("Cut here…", "Cut here", True),
        ("Cut here...", "Cut here", True),
        ("Cut here [...]", "Cut here", True),
        ("Cut here (…) »", "Cut here", True),
        ("Not cut //", "Not cut", False),
        ("Not cut. →", "Not cut.", False),
        ("A whole sentence.", "A whole sentence.", False),
        ("In (brackets)", "In (brackets)", False),
        ("A sentence that ends....", "A sentence that ends.", True),
        ("A leader ......", "A leader", True),
        ("…", None, False),
    ],
)
def test_cut_marks(printed, teaser, truncated) -> None:
    assert cut_teaser(printed) == (teaser, truncated)


@pytest.mark.parametrize(
    ("body", "url"),
    [
        ('<div class="r"><h3><a href="x">T</a></h3></div>', "https://example.org/news/x"),
        ('<a href="/whole" class="c"><div class="r"><h3>T</h3></div></a>', None),
        ('<div class="r"><a href="/card"><h3>T</h3></a></div>', "https://example.org/card"),
        ('<div class="r"><a href="/img"></a><h3><a href="/t">T</a></h3></div>', "https://example.org/t"),
        ('<div class="r"><h3>T</h3><a href="//cdn.org/y">more</a></div>', "https://cdn.org/y"),
        ('<div class="r"><h3><a href="javascript:x()">T</a></h3></div>', None),
        ('<div class="r"><h3><a href="mailto:a@b.org">T</a></h3></div>', None),
        ('<div class="r"><h3><a href="http://[bad">T</a></h3></div>', None),
        ('<base href="https://other.org/"><div class="r"><h3><a href="x">T</a></h3></div>', "https://other.org/x"),
    ],
)  # fmt: skip
def test_addresses(body, url) -> None:
    assert read(body).entries[0].url == url


def test_a_pattern_may_take_attributes() -> None:
    pattern = ListingPattern(
        record="a.r", title="::attr(title)", link="::attr(href)", date="time::attr(datetime)"
    )
    [entry] = read(
        '<a class="r" href="/x" title="T"><time datetime="2011-07-11">Mon</time></a>', pattern
    ).entries
    assert (entry.title, entry.url, str(entry.day)) == ("T", "https://example.org/x", "2011-07-11")


# ------------------------------------------------------------------ patterns
def test_the_text_form_of_a_pattern_comes_back() -> None:
    pattern = ListingPattern(record='li[data-x="й\\""]', title="h3 > a", date_format="%d.%m.%Y")
    assert ListingPattern.from_toml(pattern.to_toml()) == pattern
    assert ListingPattern.from_dict(pattern.to_dict()) == pattern


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('title = "h3"', "record: missing"),
        ('record = "li"\nheadline = "h3"', "headline"),
        ('record = "li["', "record"),
        ('record = "li"\ntitle = "h3["', "title"),
        ('record = "li::attr(x)"', "record"),
        ('record = ""', "record"),
        ("record = 1", "record"),
        ("record", "TOML"),
    ],
)
def test_a_bad_pattern_is_explained(text, says) -> None:
    with pytest.raises(PatternError, match=says.replace("[", r"\[")):
        ListingPattern.from_toml(text)


# ------------------------------------------------------------------ the next page
@pytest.mark.parametrize(
    ("body", "url"),
    [
        ('<link rel="next" href="?page=2"><a href="?page=2">2</a>', "https://example.org/news/?page=2"),
        ('<link rel="next" href="?page=2">', None),  # declared, but nobody is led there
        ('<a rel="next" href="/n/2">›</a>', "https://example.org/n/2"),
        ('<ul class="pager"><li class="pager-next"><a href="?page=15">›</a></li></ul>', URL + "?page=15"),
        ('<nav aria-label="Pagination"><a href="?p=1">Назад</a><a href="?p=3">Наступная »</a></nav>', URL + "?p=3"),
        ('<div class="pagination"><a href="/old">Older posts</a></div>', "https://example.org/old"),
        ('<p><a href="/x">Next</a></p>', None),  # no pager
        ('<a rel="next" href="#top">Next</a>', None),  # the page itself
        ('<a rel="next" href="javascript:next()">Next</a>', None),
        ("", None),
    ],
)  # fmt: skip
def test_the_next_page(body, url) -> None:
    assert read(body).next_url == url


def test_a_pattern_names_the_next_page() -> None:
    pattern = ListingPattern(record=".r", next_page=".pager .n")
    body = '<a rel="next" href="/no"></a><div class="pager"><span class="n"><a href="/2">2</a></span></div>'
    assert read(body, pattern).next_url == "https://example.org/2"


# ------------------------------------------------------------------ without a pattern
def test_without_a_pattern_one_is_learned_and_reads_the_same() -> None:
    cards = "".join(
        f'<div class="card"><h3><a href="/{n}">A headline that is number {n}</a></h3>'
        f'<span class="date">July {n}, 2011</span><p class="text">What there is to say about it, in a sentence or two, {n}</p></div>'
        for n in range(1, 8)
    )
    page = f'<nav><a href="/about">About us and our work</a></nav><main>{cards}</main>'
    learned = read(page, None, language="en")
    assert [e.title for e in learned.entries] == [
        f"A headline that is number {n}" for n in range(1, 8)
    ]
    assert [e.day.day for e in learned.entries] == list(range(1, 8))
    assert learned.entries[0].teaser == "What there is to say about it, in a sentence or two, 1"
    assert read(page, learned.pattern, language="en").entries == learned.entries


@pytest.mark.parametrize(
    "html",
    ["", " ", "\0", "plain text", "<html>", "<p>Please log in</p>" * 3, "\ud800", "<div>" * 30_000,
     "<table>" * 9_000, "<!--" * 1000, '<a href="/x">y</a>' * 500,
     "<a " * 60_000, "<p>" + "<b id=x>" * 400 + "</p>" + "<p>x</p>" * 10_000, "<b>" * 40_000,
     "<div/>" * 40_000, "<svg><path/></svg>" * 9_000],
)  # fmt: skip
def test_no_page_is_too_odd(html) -> None:
    for pattern in (None, PATTERN):
        assert read_listing(html, URL, pattern).entries == ()
    assert read_listing(html.encode("utf-8", "replace"), "nonsense", None).entries == ()


@settings(max_examples=50)
@given(st.data())
def test_a_damaged_page_is_read_or_not_but_never_crashes(data) -> None:
    card = '<div class="r"><h3><a href="/x">T</a></h3><p>P</p><time>July 1, 2011</time></div>'
    page = f"<html><body>{card * 5}</body></html>".encode()
    start = data.draw(st.integers(0, len(page)))
    end = data.draw(st.integers(start, len(page)))
    listing = read_listing(
        page[:start] + data.draw(st.binary(max_size=20)) + page[end:], URL, PATTERN
    )
    assert len(listing.entries) <= 8
