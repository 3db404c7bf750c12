"""The tables: one schema for every reader, all or nothing on disk."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime

import duckdb
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest
from test_rows import DAWN, HOSTS, seen

from pipelines import ledger
from pipelines.dataset import Dataset, Locked
from pipelines.entry import COLUMNS, Record
from pipelines.ledger import Course, Stop
from pipelines.publish import publish
from pipelines.run import Run, next_run_id
from pipelines.table import Damaged, DatasetError

NULLS = seen(None, None, "Only a teaser", None, position=1)


@pytest.fixture
def dataset(tmp_path) -> Dataset:
    return Dataset(tmp_path / "output")


def files(dataset: Dataset) -> dict[str, bytes]:
    """What readers load."""
    paths = (p for t in ("entries", "revisions") for p in dataset.root.glob(f"{t}/**/*.parquet"))
    return {str(path): path.read_bytes() for path in paths}


def put(dataset: Dataset, *sightings, source="test", run=1, **more):
    at = datetime(2026, 2, run, tzinfo=UTC)
    a_run = Run(run_id=next_run_id(source, at, ()), source=source, started=at, hosts=HOSTS)
    return publish(dataset, a_run, sightings, Course(**more))


def test_every_reader_gets_the_types_of_the_contract(dataset) -> None:
    put(dataset, seen())
    put(dataset, NULLS, source="nulls-only")
    folder = str(dataset.root / "entries")

    frame = pd.read_parquet(folder)
    assert len(frame) == 2
    assert str(frame["published"].dtype) == "datetime64[us]"
    assert str(frame["first_seen"].dtype) == "datetime64[us, UTC]"
    assert str(frame["missing_since"].dtype) == "datetime64[us, UTC]"
    assert str(frame["repeats"].dtype) == "int32"
    assert set(frame["source"]) == {"test", "nulls-only"}

    table = pl.read_parquet(folder)
    assert table.schema["published"] == pl.Datetime("us")
    assert table.schema["first_seen"] == pl.Datetime("us", "UTC")
    assert table.schema["urls"] == pl.List(pl.String)
    assert table.schema["teaser_truncated"] == pl.Boolean

    query = (
        f"DESCRIBE SELECT * FROM read_parquet('{folder}/**/*.parquet', hive_partitioning = true)"
    )
    types = {name: kind for name, kind, *_ in duckdb.sql(query).fetchall()}
    assert types["published"] == "TIMESTAMP"
    assert types["last_seen"] == "TIMESTAMP WITH TIME ZONE"
    assert types["urls"] == "VARCHAR[]"
    assert (types["position"], types["title"], types["source"]) == ("INTEGER", "VARCHAR", "VARCHAR")

    names = [column.name for column in COLUMNS]
    for path in dataset.root.glob("entries/*/*.parquet"):
        schema = pq.read_schema(path)
        assert schema.names == names
        assert [schema.field(c.name).nullable for c in COLUMNS] == [c.nullable for c in COLUMNS]
    assert set(Record.__slots__) == {*names, "source"}
    assert set(frame.columns) == {*names, "source"}
    assert (
        dataset.read()["source"].dtype.kind == "O" or str(dataset.read()["source"].dtype) == "str"
    )


def test_every_reader_loads_every_table_after_each_of_twenty_runs(dataset) -> None:
    """New sources, columns that are all null, files by an earlier contract that are taken in."""
    for n in range(1, 21):
        source = ("first", "second", "nulls-only", f"fresh-{n}")[n % 4]
        shown = [seen(f"Title {n}", f"https://example.org/{n}", run=n), seen(run=n, position=1)]
        if source == "nulls-only":
            shown = [seen(None, f"https://example.org/null/{n}", None, None, run=n)]
        put(dataset, *(replace(s, source=source) for s in shown), source=source, run=n)
        if n == 9:
            make_older(dataset, "second")
            with pytest.raises(Damaged, match="check --repair second"):
                dataset.records("second")
            at = datetime(2026, 2, n, 1, tzinfo=UTC)
            run = Run(
                run_id=next_run_id("second", at, ()), source="second", started=at, hosts=HOSTS
            )
            publish(dataset, run, (), Course(), rebuild=True, repair=True)
        every = [row for name in dataset.sources() for row in dataset.records(name)]
        counts = Counter(row.source for row in every)
        revisions = sum(row.revision for row in every)
        for table, wanted in (("entries", len(every)), ("revisions", revisions)):
            folder = str(dataset.root / table)
            frame = pd.read_parquet(folder)
            assert len(frame) == wanted
            assert pl.read_parquet(folder).height == wanted
            assert pl.scan_parquet(folder).collect()["source"].n_unique() == len(counts)
            query = f"SELECT source, count(*) FROM read_parquet('{folder}/**/*.parquet', hive_partitioning = true) GROUP BY 1"
            found = dict(duckdb.sql(query).fetchall())
            assert found == (counts if table == "entries" else dict(frame["source"].value_counts()))
            kinds = {
                str(pq.read_schema(path)) for path in dataset.root.glob(f"{table}/*/*.parquet")
            }
            assert len(kinds) == 1, "one schema in all files"


def make_older(dataset: Dataset, source: str) -> None:
    """The rows of a source as the first version of the contract had them: one file, fewer columns."""
    [path] = (dataset.root / "entries" / f"source={source}").iterdir()
    table = pq.read_table(path, partitioning=None).drop_columns(
        ["story_id", "missing_since", "language"]
    )
    path.unlink()
    pq.write_table(table, path.with_name("entries.parquet"))
    shutil.rmtree(dataset.root / "revisions" / f"source={source}")
    dataset.manifest_file(source).unlink()


def test_spark_loads_every_table(dataset) -> None:
    pyspark = pytest.importorskip("pyspark.sql", reason="Spark is not installed")
    put(dataset, seen(), NULLS)
    put(dataset, seen(None, "https://example.org/null", None, None), source="nulls-only")
    spark = pyspark.SparkSession.builder.master("local[1]").getOrCreate()
    try:
        for table, wanted in (("entries", 3), ("revisions", 3)):
            frame = spark.read.parquet(str(dataset.root / table))
            assert frame.count() == wanted
            assert {row["source"] for row in frame.collect()} == {"test", "nulls-only"}
    finally:
        spark.stop()


def test_rows_come_back_as_they_were(dataset) -> None:
    report = put(dataset, seen(), NULLS)
    rows = dataset.records("test")
    assert rows == [d.record for d in report.decisions]
    before = files(dataset)
    put(dataset, seen(), NULLS)
    assert files(dataset) == before, "nothing to write"


def test_an_empty_data_set(dataset) -> None:
    assert dataset.records("test") == []
    assert dataset.sources() == []
    with pytest.raises(DatasetError, match="harvester crawl"):
        dataset.read()
    assert put(dataset).rows == 0
    assert not (dataset.root / "entries").exists(), "no rows, no file"


def test_damage_is_named(dataset) -> None:
    put(dataset, *(seen(f"Title {n}", f"https://example.org/{n}", position=n) for n in range(50)))
    [path] = dataset.root.glob("entries/*/*.parquet")
    whole = path.read_bytes()
    for broken in (whole[:-100], b"", b"not Parquet", whole[:200] + b"\xff" + whole[201:]):
        path.write_bytes(broken)
        with pytest.raises(Damaged, match=path.name):
            dataset.records("test")
    path.unlink()
    with pytest.raises(Damaged, match=path.name):
        dataset.records("test")
    path.write_bytes(whole)
    manifest = dataset.manifest_file("test")
    text = manifest.read_bytes()
    for broken in (text[:-1], b"", b"{}", text.replace(b'"rows": ', b'"rows": 9')):
        manifest.write_bytes(broken)
        with pytest.raises(Damaged, match=r"test\.json"):
            dataset.records("test")
    manifest.unlink()
    with pytest.raises(Damaged, match=r"test\.json"):
        dataset.records("test")


@pytest.mark.parametrize("name", ["../x", "/etc/x", "007", "", "a\0b", "A", "x" * 65, "a/b", ".."])
def test_a_source_name_never_leaves_its_folder(dataset, name) -> None:
    with pytest.raises(DatasetError, match="source name"):
        dataset.manifest_file(name)


def test_a_failed_commit_leaves_what_was_there(dataset, monkeypatch) -> None:
    put(dataset, seen())
    before = files(dataset)
    monkeypatch.setattr(ledger, "written", lambda told: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        put(dataset, seen("Another", "https://example.org/2"), run=2)
    assert files(dataset) == before


def test_the_lock_is_for_one(dataset) -> None:
    with dataset.lock("test"):
        with pytest.raises(Locked, match="another process"), dataset.lock("test"):
            pass
        with dataset.lock("other"):
            pass
    with dataset.lock("test"):
        pass


def test_a_ledger_says_everything(dataset) -> None:
    put(dataset, seen(), seen(position=1), seen(None, None, None, None, position=2))
    [path] = (dataset.root / "runs").iterdir()
    told = json.loads(path.read_text("utf-8"))
    assert told["counts"] == {
        "entries": 3, "new": 1, "repeats": 1, "revised": 0, "seen": 0, "rejected": 1
    }  # fmt: skip
    [rejected] = told["rejected"]
    assert "neither title" in rejected["reason"]
    assert (rejected["page_url"], rejected["position"]) == ("https://example.org/news?page=1", 2)
    assert (told["source"], told["mode"], told["rows"]) == ("test", "crawl", 1)


def test_only_the_last_run_says_whether_a_listing_was_read_whole(dataset) -> None:
    url = "https://example.org/news"

    def ends(run: int, whole: bool, source: str = "test") -> None:
        stops = (Stop(start_url=url, reason="r", whole=whole),)
        put(dataset, replace(seen(), source=source), run=run, source=source, stops=stops)

    assert not ledger.last_read_whole(dataset, "test", url)
    ends(1, True)
    assert ledger.last_read_whole(dataset, "test", url)
    ends(2, False)
    ends(3, True, source="another-test")
    assert not ledger.last_read_whole(dataset, "test", url)
    assert not ledger.last_read_whole(dataset, "test", url + "?country=x")
    put(dataset, run=4, stops=(Stop(start_url=url, reason="r", whole=True),))
    assert not ledger.last_read_whole(dataset, "test", url), (
        "a run that stored nothing says nothing"
    )
    dataset.ledger_file(next_run_id("test", DAWN.replace(year=2030), ())).write_text("{")
    with pytest.raises(Damaged, match="2030"):
        ledger.last_read_whole(dataset, "test", url)
