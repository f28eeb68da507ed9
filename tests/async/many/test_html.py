"""What notebooks show of runs, outcomes and summaries: both APIs, every value escaped."""

from html.parser import HTMLParser
from typing import Any

import pytest

import lume_sync
from lume_async import ApiConnectionError, LumeRun, Outcome, RunRequest, Summary
from lume_async.testing import FakeAnswer, fake_client, run_json

EVIL = "<script>alert('&')</script><img src=x onerror=\"x\">"


class Tags(HTMLParser):
    """The tags of a piece of HTML, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


def evil_run() -> dict[str, Any]:
    document = run_json("run_1", "PARTIAL_FAILED", flow_version=EVIL, source_path=EVIL)
    document["metadata"] = {
        "metrics": {"rows_read": 4, "rows_mapped": 1, "rows_rejected": 3, "reject_reasons": {EVIL: 3}},
        "target_locations": {"mapped": EVIL, "rejects": EVIL},
        "notes": [EVIL],
        "error_message": EVIL,
    }
    return document


async def seen(document: dict[str, Any]) -> LumeRun:
    client, _ = fake_client(lambda request: FakeAnswer(200, document))
    return await client.run_status("run_1")


async def pieces() -> list[str]:
    run = await seen(evil_run())
    request = RunRequest("f:v1", "a.csv")
    lost = Outcome[LumeRun](None, error=ApiConnectionError(EVIL), request=request)
    failed = await seen({**evil_run(), "status": "FAILED"})
    summary = Summary.of([Outcome("run_1", run=failed), lost])
    shown = [run, Outcome("run_1", run=run), lost, summary, lume_sync.LumeRun._wrap(run)]
    return [each._repr_html_() for each in shown]


async def test_nothing_that_a_server_or_a_file_says_is_taken_for_html() -> None:
    for piece in await pieces():
        found = Tags(piece)
        assert found.tags <= {"div", "strong", "table", "tr", "th", "td"}
        assert found.attributes <= {"style"}
        assert "alert('&')" in found.text


async def test_a_run_shows_how_it_ended() -> None:
    text = Tags((await seen(evil_run()))._repr_html_()).text
    for words in ("run run_1", "PARTIAL_FAILED", "4 read, 1 mapped, 3 rejected"):
        assert words in text


async def test_both_packages_show_the_same() -> None:
    run = await seen(evil_run())
    assert lume_sync.LumeRun._wrap(run)._repr_html_() == run._repr_html_()


async def test_a_summary_lists_the_first_failures_only() -> None:
    lost = [Outcome[LumeRun](f"run_{n}", error=ApiConnectionError("gone")) for n in range(25)]
    shown = Tags(Summary.of(lost)._repr_html_()).text
    assert "25 outcomes" in shown
    assert "25 failures, the first 20" in shown
    assert "run_19" in shown
    assert "run_20" not in shown


@pytest.mark.parametrize("document", [{"metadata": 5}, {"metadata": {"metrics": {"rows_read": "many"}}}])
async def test_a_run_whose_metadata_cannot_be_read_is_shown_all_the_same(document: dict[str, Any]) -> None:
    run = await seen({**run_json("run_1", "SUCCEEDED"), **document})
    assert "its metadata can't be read" in Tags(run._repr_html_()).text.replace("&#x27;", "'")


def test_a_run_that_was_never_seen() -> None:
    client, _ = fake_client([])
    assert "not seen yet" in client.attach("run_1")._repr_html_()
