"""Whether an answer can be that to a submission, as tables."""

from typing import Any

import pytest

from lume_async import RunRequest
from lume_async._wire.asked_for import difference

PATHS = [
    ("customers.csv", "customers.csv"),
    ("in/a.csv", "/srv/data/in/a.csv"),  # made absolute
    ("/srv/data/in/a.csv", "in/a.csv"),  # below a root
    ("./in//a.csv", "in/a.csv"),
    ("in/", "in"),
    ("/srv/in/a b.csv", "file:///srv/in/a%20b.csv"),
    ("file:///srv/in/a.csv", "/srv/in/a.csv"),
    ("C:\\in\\a.csv", "file:///c:/in/a.csv"),
    ("s3://bucket/in/a.csv", "S3://bucket//in/a.csv"),
    ("https://host/a.csv?sig=secret", "https://host/a.csv"),  # a server may keep a signature to itself
    ("caf\u00e9.csv", "cafe\u0301.csv"),
    ("2026-05", "2026-05"),
    (" a.csv", "a.csv"),
    ("/", "/"),
]
OTHER_PATHS = [
    ("a.csv", "b.csv"),
    ("in/a.csv", "out/a.csv"),
    ("day=1/part.csv", "day=2/part.csv"),
    ("a.csv", "data.csv"),  # the end of a name is no part of a path
    ("2026-05", "2026-06"),
    ("a?1.csv", "a?2.csv"),  # a file may be called so
    ("a.csv", "/"),
    ("s3://bucket/in/a.csv", "s3://other/in/a.csv"),
]


@pytest.mark.parametrize(("asked", "found"), PATHS)
def test_a_source_spelled_in_another_way_is_the_same(asked: str, found: str) -> None:
    assert difference({"source_path": found}, RunRequest("f:v1", asked)) is None


@pytest.mark.parametrize(("asked", "found"), OTHER_PATHS)
def test_another_source_is_named(asked: str, found: str) -> None:
    reason = f"expected a run on {asked!r}, got one on {found!r} @ $.source_path"

    assert difference({"source_path": found}, RunRequest("f:v1", asked)) == reason


@pytest.mark.parametrize(
    ("asked", "found", "same"),
    [
        ("f:v1", "f:v1", True),
        ("f", "f:v3", True),  # completed by the server
        ("f:v1", "f:v1:2", True),
        ("f:v1", "f:v2", False),
        ("f:v1", "f:v10", False),
        ("f:v1", "f", False),
        ("f:v1", "g:v1", False),
    ],
)
def test_the_flow_version(asked: str, found: str, same: bool) -> None:
    reason = difference({"flow_version": found, "source_path": "a.csv"}, RunRequest(asked, "a.csv"))

    assert reason == (None if same else f"expected a run of {asked!r}, got one of {found!r} @ $.flow_version")


@pytest.mark.parametrize("raw", [{}, {"flow_version": None, "source_path": None}, {"flow_version": {"v": 1}}])
def test_what_an_answer_leaves_out_shows_nothing(raw: dict[str, Any]) -> None:
    assert difference(raw, RunRequest("f:v1", "a.csv")) is None


def test_of_a_long_path_the_end_is_shown() -> None:
    reason = difference({"source_path": "x" * 4000 + "/b.csv"}, RunRequest("f:v1", "y" * 4000 + "/a.csv"))

    assert reason is not None
    assert len(reason) < 300
    assert "a.csv" in reason
    assert "b.csv" in reason
