"""Which entries tell one story, across slugs, sources and runs; and that nothing depends on their order."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from importlib.util import module_from_spec, spec_from_file_location
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_rows import DAWN, HOSTS, seen

from pipelines import sketch, storybook, sweep, table
from pipelines import stories as stories_module
from pipelines.check import check_stories
from pipelines.dataset import Change, Dataset
from pipelines.entry import Record
from pipelines.ledger import Course
from pipelines.publish import publish
from pipelines.run import Run, next_run_id
from pipelines.similarity import Text, alike, could_be_alike, keys, text_of
from pipelines.stories import STORIES, Member, settle
from pipelines.upsert import retell

TITLE = "Belarus: Student sentenced to three years for a post about the protests"
TEASER = (
    "A court in Hrodna found the nineteen year old guilty of insulting the president in a post that "
    "she had deleted the same day, and refused to hear any of the witnesses for the defence."
)
OTHER = (
    "Regional office of writers' union closed by order",
    "The members were told on Monday that the premises do not meet the fire regulations any more, "
    "and that they had two days to take their books away before the doors would be sealed.",
)


@pytest.mark.parametrize(
    ("title", "teaser"),
    [
        (TITLE.upper(), TEASER),
        (f"UPDATE: {TITLE}", TEASER),
        (TITLE, TEASER[:70]),
        (TITLE, TEASER[:75]),  # in the middle of a word
        (TITLE, None),
        (TITLE.replace("sentenced", "jailed"), TEASER.replace("found", "has found")),
        (f"Press release – {TITLE}", f"(Minsk) – {TEASER[:120]} […]"),
    ],
)
def test_what_is_cut_edited_or_put_in_front_stays_the_same_story(title, teaser) -> None:
    assert alike(text_of(TITLE, TEASER), text_of(title, teaser))
    assert len(keys(text_of(TITLE, TEASER)) & keys(text_of(title, teaser))) > 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((f"{TITLE}, Part 3", TEASER), (f"{TITLE}, Part 4", TEASER)),
        ((f"{TITLE}, Part III", TEASER), (f"{TITLE}, Part IV", TEASER)),
        ((f"{TITLE}, Part 3", TEASER), (f"{TITLE}, Part 30", TEASER)),
        (("Minutes of the meeting of 3 July 2011", None), ("Minutes of the meeting of 10 July 2011", None)),
        (("Digest of the news in January", TEASER), ("Digest of the news in February", TEASER)),
        ((TITLE, TEASER), (TITLE, OTHER[1])),
        ((TITLE, TEASER), (OTHER[0], TEASER)),
        (("Digest of the news, Part A", TEASER), ("Digest of the news, Part B", TEASER)),
        (("मई में मानवाधिकार समाचार का सारांश", None), ("जून में मानवाधिकार समाचार का सारांश", None)),
        (("हिन्दी में", None), ("हिन्दी में", None)),
        (("Press release", None), ("Press release", None)),
        ((None, None), (None, None)),
        ((TITLE, TEASER), OTHER),
    ],
)  # fmt: skip
def test_another_part_or_only_one_field_in_common_is_another_story(one, other) -> None:
    assert not alike(text_of(*one), text_of(*other))


def test_scripts_without_spaces_and_combining_letters() -> None:
    title, teaser = (
        "白俄罗斯学生因抗议帖子被判三年监禁",
        "格罗德诺法院裁定这名十九岁学生侮辱总统罪名成立，并拒绝听取辩方证人",
    )
    assert alike(text_of(title, teaser), text_of(f"更新：{title}", teaser[:20]))
    assert not alike(
        text_of(title, teaser), text_of(title, "天气预报显示周末将有大雨请市民注意出行安全")
    )
    hindi = "बेलारूस में छात्र को विरोध प्रदर्शन पर पोस्ट के लिए तीन साल की सज़ा"
    assert alike(text_of(hindi, None), text_of(f"ताज़ा: {hindi}", None))


LETTERS = st.one_of(
    st.characters(exclude_categories=()),  # all of Unicode, halves of pairs too
    st.sampled_from("ab1_ \0\n…\xa0½ﬁßİΣςй\u0301\u0308ऱड़คำ日本語ｱﾊﾟ한\u1112\u1161\U0002f800\ufdfa"),
)
FIELDS = (
    st.none()
    | st.text(LETTERS)
    | st.sampled_from([TITLE, TEASER, OTHER[1], "я " * 1100, "x" * 20_000])
)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(FIELDS, FIELDS), max_size=6), st.integers(1, 3))
def test_texts_that_are_sketched_together_have_the_keys_that_each_has_alone(texts, at_once) -> None:
    kept, sketch._AT_ONCE = sketch._AT_ONCE, at_once
    try:
        found = sketch.sketch(texts)
    finally:
        sketch._AT_ONCE = kept
    ends = found.first.tolist()
    for number, text in enumerate(texts):
        own = found.keys[ends[number] : ends[number + 1]].tolist()
        assert len(own) == len(set(own))
        assert set(own) == keys(text_of(*text))
        words = text_of(*text)
        assert found.words[number].tolist() == [*map(len, (words.title, words.teaser, words.words))]
    for (one, a), (other, b) in combinations(enumerate(texts), 2):
        if alike(text_of(*a), text_of(*b)):
            assert could_be_alike(found, np.array([one]), np.array([other])).size


def test_generated_near_duplicates_are_found_and_others_are_not() -> None:
    path = Path(__file__).parents[1] / "benchmarks" / "stories.py"
    spec = spec_from_file_location("stories_benchmark", path)
    assert spec and spec.loader
    benchmark = module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    entries = benchmark.Writer(seed=2).entries(8_000)
    precision, recall = benchmark.score(entries, benchmark.harvester(entries))
    assert precision >= 0.999
    assert recall >= 0.995


# ------------------------------------------------------------------ in the data set
def run_of(source: str, at) -> Run:
    return Run(run_id=next_run_id(source, at, ()), source=source, started=at, hosts=HOSTS)


def put(dataset: Dataset, source: str, day: int, texts: list[tuple[str, str, str | None]]) -> None:
    """One run of a source: slug, title and teaser of what it saw that day."""
    at = DAWN + timedelta(days=day)
    run = run_of(source, at)
    shown = [
        replace(
            seen(title, f"https://example.org/{slug}", teaser, None, run=day, position=n),
            source=source, run_id=run.run_id, fetched_at=at,
        )
        for n, (slug, title, teaser) in enumerate(texts)
    ]  # fmt: skip
    with dataset.lock(source):
        publish(dataset, run, shown, Course())


def stories(dataset: Dataset) -> dict[tuple[str, str | None], str]:
    """Source and title of each row, and the title that its story began with."""
    rows = [row for source in dataset.sources() for row in dataset.records(source)]
    named = {row.entry_id: f"{row.source}: {row.title}" for row in rows}
    return {(row.source, row.title): named[row.story_id] for row in rows}


def test_a_story_is_shared_across_slugs_and_sources_and_stays_when_edited(tmp_path) -> None:
    dataset = Dataset(tmp_path)
    put(dataset, "a", 1, [("one", TITLE, TEASER), ("two", *OTHER)])
    put(dataset, "b", 2, [("x", f"News: {TITLE}", TEASER[:80])])
    put(dataset, "a", 3, [("three", TITLE.lower(), TEASER), ("one", f"Corrected: {TITLE}", None)])
    assert stories(dataset) == {
        ("a", f"Corrected: {TITLE}"): f"a: Corrected: {TITLE}",
        ("a", OTHER[0]): f"a: {OTHER[0]}",
        ("b", f"News: {TITLE}"): f"a: Corrected: {TITLE}",
        ("a", TITLE.lower()): f"a: Corrected: {TITLE}",
    }
    assert list(check_stories(dataset)) == []


def test_an_older_report_that_is_read_late_begins_the_story(tmp_path) -> None:
    dataset = Dataset(tmp_path)
    put(dataset, "b", 5, [("x", TITLE, TEASER)])
    put(dataset, "c", 6, [("y", TITLE, TEASER)])
    put(dataset, "a", 2, [("one", f"Minsk: {TITLE}", TEASER)])
    assert set(stories(dataset).values()) == {f"a: Minsk: {TITLE}"}


def test_a_source_that_is_at_work_is_told_by_its_own_run(tmp_path) -> None:
    dataset = Dataset(tmp_path)
    put(dataset, "b", 5, [("x", TITLE, TEASER)])
    with dataset.lock("b"):
        put(dataset, "a", 2, [("one", f"Minsk: {TITLE}", TEASER)])
        assert stories(dataset)["b", TITLE] == f"b: {TITLE}"
    put(dataset, "b", 6, [])
    assert stories(dataset)["b", TITLE] == f"a: Minsk: {TITLE}"


TEXTS = tuple(
    (title, teaser)
    for base, lead in ((TITLE, TEASER), OTHER)
    for title, teaser in (
        (base, lead), (f"UPDATE: {base}", lead), (base, lead[:60]), (f"{base}, Part 1", lead),
        (f"{base}, Part 2", lead[:90]), (base, None), (f"Press release: {base}", lead[40:]),
    )
)  # fmt: skip
RUNS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c"]),
        st.integers(1, 6),
        st.lists(st.sampled_from(range(len(TEXTS))), min_size=1, max_size=4, unique=True),
    ),
    min_size=1,
    max_size=7,
    unique_by=lambda run: run[:2],
)


def every_row(dataset: Dataset) -> list[Record]:
    return [row for source in dataset.sources() for row in dataset.records(source)]


@settings(max_examples=60, deadline=None)
@given(RUNS, st.randoms(use_true_random=False), st.integers(1, 4))
def test_stories_do_not_depend_on_the_order_of_runs(
    tmp_path_factory, runs, chance, at_once
) -> None:
    kept = storybook._AT_ONCE, table.FULL
    storybook._AT_ONCE, table.FULL = at_once, at_once + 1
    try:
        found = []
        for order in (runs, chance.sample(runs, len(runs))):
            dataset = Dataset(tmp_path_factory.mktemp("o"))
            for source, day, numbers in order:
                # Every text has a slug of its own on every day: edits are not what this is about.
                put(dataset, source, day, [(f"{day}-{n}", *TEXTS[n]) for n in numbers])
            found.append({(r.source, r.url): r.story_id for r in every_row(dataset)})
            assert list(check_stories(dataset)) == []
            rows = every_row(dataset)
            assert [r.story_id for r in rows] == by_brute_force(rows)

            storybook.Storybook(dataset).discard()
            retell(dataset, dataset.sources())
            assert every_row(dataset) == rows, "the book is made from the tables"
    finally:
        storybook._AT_ONCE, table.FULL = kept


def by_brute_force(rows: Sequence[Record | Member], common: int = 64) -> list[str]:
    """The definition: the first one that begins a story, is alike, and shares two keys.

    A key counts that no more than ``common`` stories have before.
    """
    begun: list[Record | Member] = []
    story: dict[str, str] = {}
    uses: Counter[int] = Counter()

    def text(row: Record | Member) -> Text:
        return text_of(row.title, row.teaser)

    for row in sorted(rows, key=lambda r: (r.first_seen, source_of(r), r.entry_id)):
        says = {key for key in keys(text(row)) if uses[key] <= common}
        for other in begun:
            if alike(text(row), text(other)) and len(says & keys(text(other))) > 1:
                story[row.entry_id] = other.entry_id
                break
        else:
            begun.append(row)
            uses.update(keys(text(row)))
            story[row.entry_id] = row.entry_id
    return [story[row.entry_id] for row in rows]


def source_of(row: Record | Member) -> str:
    return row.of if isinstance(row, Member) else row.source


TOLD = st.tuples(st.integers(0, 11), st.integers(1, 6), st.sampled_from(range(len(TEXTS))))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(TOLD, min_size=1, max_size=6), min_size=1, max_size=5),
    st.integers(0, 3),
    st.integers(1, 5),
)
def test_stories_follow_the_rule_whatever_is_told_anew_and_whatever_many_share(
    tmp_path_factory, histories, common, at_once
) -> None:
    """Entries come early and late, move, say something else; keys are common to very few already."""
    kept = stories_module.COMMON, sweep.COMMON, sweep._BLOCK, table.FULL
    stories_module.COMMON = sweep.COMMON = common
    sweep._BLOCK = table.FULL = at_once
    dataset = Dataset(tmp_path_factory.mktemp("o"))
    now: dict[str, Member] = {}
    try:
        with dataset.lock("all"):
            for history in histories:
                told = {
                    str(name): Member(
                        entry_id=str(name), of="a", first_seen=DAWN + timedelta(days=day),
                        title=TEXTS[text][0], teaser=TEXTS[text][1], story_id="", shown="",
                    )
                    for name, day, text in history
                }  # fmt: skip
                now |= told
                stored = dataset.stored(STORIES, "all")
                found = settle(told.values(), stored)
                dataset.commit("all", [Change(stored, found.changed, found.new)], "", {})
                rows = dataset.stored(STORIES, "all").all()
                assert {row.entry_id for row in rows} == now.keys()
                assert [row.story_id for row in rows] == by_brute_force(rows, common)
    finally:
        stories_module.COMMON, sweep.COMMON, sweep._BLOCK, table.FULL = kept


@pytest.mark.parametrize("what", ["gone", "behind", "torn"])
def test_a_book_that_is_not_what_the_tables_are_is_made_good(tmp_path, what) -> None:
    """A run that died before it told the book, a backup that came back, a damaged file."""
    dataset = Dataset(tmp_path)
    put(dataset, "a", 1, [("one", TITLE, TEASER)])
    book = storybook.Storybook(dataset)
    [_, mark] = book.marks()
    before = mark.read_bytes()
    put(dataset, "a", 2, [("two", *OTHER)])
    if what == "gone":
        book.discard()
    elif what == "behind":
        mark.write_bytes(before)
    else:
        [part] = Path(tmp_path / ".stories").glob("stories*/*/*.parquet")
        part.write_bytes(part.read_bytes()[:-9])
        assert [finding.path for finding in check_stories(dataset)] == [part]
    put(dataset, "b", 3, [("x", f"Again: {TITLE}", TEASER), ("y", f"Again: {OTHER[0]}", OTHER[1])])
    assert set(stories(dataset).values()) == {f"a: {TITLE}", f"a: {OTHER[0]}"}
    assert list(check_stories(dataset)) == []


def test_a_source_that_is_taken_away_tells_no_story(tmp_path) -> None:
    dataset = Dataset(tmp_path)
    put(dataset, "a", 1, [("one", TITLE, TEASER)])
    put(dataset, "b", 2, [("x", TITLE, TEASER)])
    for folder in ("entries", "revisions"):
        shutil.rmtree(tmp_path / folder / "source=a")
    dataset.manifest_file("a").unlink()
    put(dataset, "b", 3, [])
    [row] = dataset.records("b")
    assert row.story_id == row.entry_id


def test_another_source_that_is_damaged_stops_nobody(tmp_path) -> None:
    dataset = Dataset(tmp_path)
    put(dataset, "b", 5, [("x", TITLE, TEASER)])
    [part] = (tmp_path / "entries" / "source=b").iterdir()
    whole = part.read_bytes()
    part.write_bytes(b"junk")
    put(dataset, "a", 2, [("one", f"Minsk: {TITLE}", TEASER)])
    put(dataset, "c", 3, [("z", *OTHER)])
    part.write_bytes(whole)
    put(dataset, "c", 4, [])
    assert stories(dataset)["b", TITLE] == f"a: Minsk: {TITLE}"


def test_an_entry_that_moves_behind_another_leaves_its_story_to_the_next(tmp_path) -> None:
    """As when an older backup of a source comes back and the archive is read again."""
    dataset = Dataset(tmp_path)
    title, day = "Board of the museum meets in Orsha for its annual report", timedelta(days=1)
    member = Member(
        entry_id="o", of="a", first_seen=DAWN + 3 * day, title=title, teaser=None, story_id="", shown=""
    )  # fmt: skip
    later = replace(member, entry_id="s", of="b", first_seen=DAWN + 4 * day)
    with storybook.Storybook(dataset).own.lock("all"):
        empty = table.Stored(tmp_path, STORIES, "all", ())
        first = settle([member, later], empty)
        dataset.commit("all", [Change(empty, new=first.new)], "", {})
        stored = dataset.stored(STORIES, "all")
        moved = replace(member, first_seen=DAWN + 7 * day)
        fresh = replace(member, entry_id="n", first_seen=DAWN + 5 * day)
        found = settle([moved, fresh], stored).members
    assert {name: m.story_id for name, m in found.items()} == {"o": "s", "n": "s", "s": "s"}


def test_what_is_common_to_many_stories_does_not_slow_them_down(tmp_path) -> None:
    """A series without end, all from one template."""
    dataset = Dataset(tmp_path)
    series = [
        (str(n), f"Minutes of the meeting of the board, number {n}", TEASER) for n in range(300)
    ]
    put(dataset, "a", 1, series[:150])
    put(dataset, "a", 2, series)
    put(dataset, "b", 3, [("copy", "Minutes of the meeting of the board, number 77", TEASER)])
    told = stories(dataset)
    assert len(set(told.values())) == 300
    assert told["b", "Minutes of the meeting of the board, number 77"].startswith("a: ")
