"""Every source with a recorded page reads from it what a person has said that it shows.

``harvester add`` records the pages, in ``tests/sources/NAME/``.  After a change to a source,
``HARVESTER_EXPECT=again`` writes what it reads now, for another review.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harvester.crawl import project_settings, sources
from harvester.expected import EXPECTED, PAGE, Unusable, differences, expected_json, load

RECORDED = Path(__file__).parent / "sources"
FOLDERS = sorted(path for path in RECORDED.glob("[!.]*") if path.is_dir())
AGAIN = os.environ.get("HARVESTER_EXPECT") == "again"
MOST_SHOWN = 20


@pytest.mark.parametrize("folder", FOLDERS, ids=[folder.name for folder in FOLDERS])
def test_a_recorded_page_is_read_as_a_person_expects(folder: Path) -> None:
    problem = problem_of(folder)
    if problem is not None:
        pytest.fail(problem, pytrace=False)


def problem_of(folder: Path) -> str | None:
    """What is wrong with a recording, or with its source, and what to do."""
    cls = sources(project_settings(None)).get(folder.name)
    if cls is None:
        return (
            f"{folder}: there is no source {folder.name!r}; restore its file, or remove the folder"
        )
    try:
        expected = load(folder)
    except Unusable as error:
        return str(error)
    listing = cls().read(expected.page)
    found = list(differences(expected, listing))
    if found and AGAIN:
        (folder / EXPECTED).write_text(expected_json(expected.page, listing), encoding="utf-8")
    elif found:
        more = [f"... and {len(found) - MOST_SHOWN} more"] if len(found) > MOST_SHOWN else []
        return "\n".join(
            [
                f"{folder / PAGE} is not read as {EXPECTED} says:",
                *found[:MOST_SHOWN],
                *more,
                "mend the source; or, where the page says what is read, set HARVESTER_EXPECT=again, "
                f"run this test, and review {EXPECTED}",
            ]
        )
    if not expected.reviewed or found:
        return (
            f"not reviewed: read {folder / PAGE} beside the entries in {folder / EXPECTED}; where "
            'they differ, mend the source; when all are right, set "reviewed": true'
        )
    return None
