import json
import math
import pickle
import string
from datetime import UTC, date, datetime
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any
from uuid import uuid4

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lume_async._batch import entries
from lume_async._wire import endpoints
from lume_async.errors import InvalidRequestError, ResponseDecodeError
from lume_async.models import (
    ColumnMetrics,
    FileMetrics,
    LayoutMetrics,
    Metrics,
    Outcome,
    RunEvent,
    RunInfo,
    RunMetadata,
    RunRecord,
    RunRequest,
    RunStatus,
    SeedMetrics,
    SourceMetrics,
    Stage,
    TargetLocations,
    check_run_id,
    is_run_id,
    status_of,
)

KNOWN = [*RunStatus]
UNKNOWN = RunStatus("PAUSED_FOR_LUNCH")
PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


# RunStatus: an open enumeration


@pytest.mark.parametrize("status", [*KNOWN, UNKNOWN], ids=str)
def test_a_status_is_its_text(status: RunStatus) -> None:
    text = str(status)

    assert status == text
    assert hash(status) == hash(text)
    assert f"{status}" == f"{status!s}" == status.value == status.name == text
    assert json.dumps([status]) == f'["{text}"]'
    assert status in ["something else", text]
    assert text in {status}


@pytest.mark.parametrize("status", [*KNOWN, UNKNOWN], ids=str)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_status_pickles(status: RunStatus, protocol: int) -> None:
    back = pickle.loads(pickle.dumps(status, protocol))

    assert back == status
    assert isinstance(back, RunStatus)
    assert back.is_known is status.is_known


@pytest.mark.parametrize(
    ("text", "matched"),
    [("SUCCEEDED", "member"), ("FAILED", "text"), ("PAUSED", "unknown"), ("succeeded", "unknown")],
)
def test_a_status_works_in_match(text: str, matched: str) -> None:
    match RunStatus(text):
        case RunStatus.SUCCEEDED:
            found = "member"
        case "FAILED":
            found = "text"
        case _:
            found = "unknown"

    assert found == matched


@pytest.mark.parametrize("value", ["", None, 5, b"CREATED", ["CREATED"]])
def test_no_text_is_no_status(value: Any) -> None:
    with pytest.raises(ValueError, match="is not a valid RunStatus"):
        RunStatus(value)


@pytest.mark.parametrize(
    ("status", "terminal", "output"),
    [
        ("CREATED", False, False),
        ("SYNCING_SOURCE", False, False),
        ("TRANSFORMING", False, False),
        ("SYNCING_TARGET", False, False),
        ("SUCCEEDED", True, True),
        ("PARTIAL_FAILED", True, True),
        ("FAILED", True, False),
        ("CRASHED", True, False),
        ("CANCELLED", True, False),
        ("PAUSED", False, False),
        ("succeeded", False, False),
    ],
)
def test_which_statuses_are_terminal_and_have_output(status: str, terminal: bool, output: bool) -> None:
    assert RunStatus(status).is_terminal is terminal
    assert RunStatus(status).has_output is output


def test_an_unknown_status_is_no_member() -> None:
    assert not UNKNOWN.is_known
    assert UNKNOWN not in KNOWN
    assert [*RunStatus] == KNOWN
    assert repr(UNKNOWN) == "<RunStatus.PAUSED_FOR_LUNCH: 'PAUSED_FOR_LUNCH'>"


@pytest.mark.parametrize("text", ["CREATED", "PAUSED"])
def test_the_quick_way_to_a_status_is_the_same(text: str) -> None:
    assert status_of(text) == RunStatus(text)
    assert isinstance(status_of(text), RunStatus)


# RunMetadata: a dict with typed views

FULL = {
    "run": {
        "run_id": "run_1",
        "flow_version": "f:v1",
        "source_path": "s.csv",
        "status": "SUCCEEDED",
        "force_rerun": True,
        "run_metadata": {"batch": 7},
        "created_at": "2026-01-01T00:00:00Z",
        "started_at": "2026-01-01T00:00:01+00:00",
        "finished_at": None,
        "duration_seconds": 3,
        "new_field": "kept",
    },
    "stages": [{"name": "sync", "rows": 3}, {"name": "map", "duration_seconds": 0.5}],
    "metrics": {"rows_read": 3, "rows_mapped": 2, "rows_rejected": 1, "reject_reasons": {"bad email": 1}},
    "target_locations": {"mapped": "out/mapped", "rejects": None},
    "error_message": "one row was bad",
    "new_field": [1, 2],
}


def test_metadata_is_a_dict() -> None:
    metadata = RunMetadata(FULL)

    assert isinstance(metadata, dict)
    assert metadata == FULL
    assert json.loads(json.dumps(metadata)) == FULL
    assert metadata["target_locations"]["mapped"] == "out/mapped"
    assert metadata.get("error_message") == "one row was bad"


def test_metadata_has_typed_views() -> None:
    metadata = RunMetadata(FULL)

    assert metadata.run == RunInfo(
        run_id="run_1",
        flow_version="f:v1",
        source_path="s.csv",
        status="SUCCEEDED",
        force_rerun=True,
        run_metadata={"batch": 7},
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        started_at=datetime(2026, 1, 1, 0, 0, 1, tzinfo=UTC),
        duration_seconds=3.0,
    )
    assert metadata.stages == [Stage("sync", rows=3), Stage("map", duration_seconds=0.5)]
    assert metadata.metrics == Metrics(3, 2, 1, {"bad email": 1})
    assert metadata.target_locations == TargetLocations("out/mapped")
    assert metadata.error_message == "one row was bad"


@pytest.mark.parametrize("empty", [{}, dict.fromkeys(FULL)])
def test_views_of_nothing_are_empty(empty: dict[str, Any]) -> None:
    metadata = RunMetadata(empty)

    assert metadata.run == RunInfo()
    assert metadata.stages == []
    assert metadata.metrics == Metrics()
    assert metadata.target_locations == TargetLocations()
    assert metadata.error_message is None


def test_a_view_is_decoded_once() -> None:
    metadata = RunMetadata(FULL)

    assert metadata.metrics is metadata.metrics


@pytest.mark.parametrize(
    ("metadata", "view", "path"),
    [
        ({"run": "text"}, "run", "$.metadata.run"),
        ({"run": {"created_at": 5}}, "run", "$.metadata.run.created_at"),
        ({"run": {"created_at": "yesterday"}}, "run", "$.metadata.run.created_at"),
        ({"run": {"force_rerun": "no"}}, "run", "$.metadata.run.force_rerun"),
        ({"run": {"duration_seconds": "1.5"}}, "run", "$.metadata.run.duration_seconds"),
        ({"run": {"duration_seconds": True}}, "run", "$.metadata.run.duration_seconds"),
        ({"run": {"run_id": 5}}, "run", "$.metadata.run.run_id"),
        ({"stages": [{"name": "a"}, {}]}, "stages", "$.metadata.stages[1]"),
        ({"stages": {"name": "a"}}, "stages", "$.metadata.stages"),
        ({"stages": [{"name": "a", "rows": 1.5}]}, "stages", "$.metadata.stages[0].rows"),
        ({"metrics": {"rows_read": "3"}}, "metrics", "$.metadata.metrics.rows_read"),
        ({"stages": [{"name": None}]}, "stages", "$.metadata.stages[0].name"),
        ({"metrics": {"reject_reasons": {"a": "b"}}}, "metrics", "$.metadata.metrics.reject_reasons['a']"),
        ({"target_locations": {"mapped": 1}}, "target_locations", "$.metadata.target_locations.mapped"),
    ],
)
def test_a_view_that_is_not_the_contract_says_where(metadata: dict[str, Any], view: str, path: str) -> None:
    decoded = RunMetadata(metadata)

    with pytest.raises(ResponseDecodeError) as caught:
        getattr(decoded, view)

    assert f"@ {path}" in str(caught.value)
    assert not caught.value.retryable
    assert decoded == metadata


def test_the_account_and_the_statistics_of_columns() -> None:
    old = RunMetadata({"metrics": {"rows_read": 1}}).metrics
    assert (old.source, old.columns) == (None, {})
    columns = {"id": {"nulls": 0, "min": "1", "max": "3", "distinct": 3}, "name": {"nulls": 1}}
    source: dict[str, Any] = {"bytes": 9, "lines": 2, "records": 1}
    source["files"] = [{"file": "a.csv", "bytes": 9, "layout": "shop"}]
    source["layouts"] = {
        "shop": {"files": 1, "rows_read": 1, "rows_rejected": 1, "header": ["ID"]},
        "bank": {"files": 2},
    }
    seeds = {"countries": {"file": "c.csv", "sha256": "0f", "rows": 2}}
    new = RunMetadata({"metrics": {"source": source, "columns": columns, "seeds": seeds}}).metrics
    assert new.seeds == {"countries": SeedMetrics("c.csv", "0f", rows=2)}
    assert new.source == SourceMetrics(
        bytes=9,
        lines=2,
        records=1,
        files=[FileMetrics("a.csv", bytes=9, layout="shop")],
        layouts={"shop": LayoutMetrics(1, 1, 1, ["ID"]), "bank": LayoutMetrics(2)},
    )
    assert new.columns == {
        "id": ColumnMetrics(nulls=0, min="1", max="3", distinct=3),
        "name": ColumnMetrics(nulls=1),
    }


def test_the_documented_sdk_has_the_message_as_error_too() -> None:
    assert RunMetadata({"error": "old"}).error_message == "old"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_metadata_pickles(protocol: int) -> None:
    metadata = RunMetadata(FULL)
    assert metadata.metrics.rows_read == 3

    back = pickle.loads(pickle.dumps(metadata, protocol))

    assert type(back) is RunMetadata
    assert back == metadata
    assert back.metrics == metadata.metrics


# RunRequest: checked before anything is sent


CANARY = "canary-2718"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("", "s"), "flow_version is empty"),
        (("  ", "s"), "flow_version is empty"),
        ((None, "s"), "flow_version must be a string, not NoneType"),
        ((b"f", "s"), "flow_version must be a string, not bytes"),
        (("f" * 257, "s"), "flow_version has 257 characters"),
        ((f"{CANARY}\n", "s"), "flow_version contains a control character"),
        ((f"{CANARY}\x00", "s"), "flow_version contains a control character"),
        ((f"{CANARY}\x85", "s"), "flow_version contains a control character"),
        ((f"{CANARY}\ud800", "s"), "flow_version is not valid UTF-8"),
        (("f", ""), "source_path is empty"),
        (("f", 5), "source_path must be a string, not int"),
        (
            ("f", PurePosixPath(CANARY)),
            "not PurePosixPath: pass str(path), as the server knows it",
        ),
        (("f", "s" * 4097), "source_path has 4,097 characters"),
        (("f", f"{CANARY}\r\nx: y"), "source_path contains a control character"),
        (("f", f"../{CANARY}"), "source_path contains a '..' part"),
        (("f", f"{CANARY}/../../etc"), "source_path contains a '..' part"),
        (("f", rf"{CANARY}\..\x"), "source_path contains a '..' part"),
        (("..", "s"), "flow_version contains a '..' part"),
        (("f", "s", [CANARY]), "run_metadata must be a dict"),
        (("f", "s", CANARY), "run_metadata must be a dict"),
        (("f", "s", {CANARY: object()}), "run_metadata is not JSON"),
        (("f", "s", {CANARY: {1, 2}}), "run_metadata is not JSON"),
        (("f", "s", {CANARY: b"bytes"}), "run_metadata is not JSON"),
        (("f", "s", {CANARY: math.nan}), "run_metadata is not JSON"),
        (("f", "s", {CANARY: math.inf}), "run_metadata is not JSON"),
        (("f", "s", {CANARY: (1, 2)}), "run_metadata is not JSON"),
        (("f", "s", {CANARY: date(2026, 1, 1)}), "run_metadata is not JSON"),
        (("f", "s", {CANARY: uuid4()}), "run_metadata is not JSON"),
        (("f", "s", {CANARY: 2**64}), "run_metadata is not JSON"),
        (("f", "s", {CANARY: "\ud800"}), "run_metadata is not JSON"),
        (("f", "s", {1: CANARY}), "run_metadata is not JSON"),
        (("f", "s", None, 1), "force_rerun must be True or False"),
        (("f", "s", None, "yes"), "force_rerun must be True or False"),
        (("f", "s", None, None), "force_rerun must be True or False"),
    ],
)
def test_bad_requests_are_refused_and_not_repeated(arguments: tuple[Any, ...], reason: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        RunRequest(*arguments)

    assert reason in str(caught.value)
    assert CANARY not in str(caught.value)


def test_metadata_that_holds_itself_is_refused() -> None:
    endless: dict[str, Any] = {}
    endless["self"] = endless

    with pytest.raises(InvalidRequestError, match="is not JSON"):
        RunRequest("f", "s", endless)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_requests_outcomes_and_events_pickle(protocol: int) -> None:
    request = RunRequest("f:v1", "s", {"a": 1}, True)
    values = [request, Outcome("r", run=1), RunEvent(1, RunStatus.CREATED), RunRecord("r", UNKNOWN, {}, "e")]

    assert pickle.loads(pickle.dumps(values, protocol)) == values


# Run ids


@pytest.mark.parametrize(
    "run_id",
    [
        "",
        "..",
        ".",
        "a/b",
        "a.b",
        "a b",
        "a\n",
        "\na",
        "ü",
        "٣",
        "x" * 129,
        "%2e",
        "a?b",
        "a#b",
        None,
        5,
        b"run",
    ],
)
def test_bad_run_ids_are_refused(run_id: Any) -> None:
    with pytest.raises(InvalidRequestError, match="no request was sent"):
        check_run_id(run_id)


def test_a_key_pasted_as_a_run_id_is_not_repeated() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        check_run_id(f"{CANARY}!")

    assert CANARY not in str(caught.value)


ALLOWED = set(string.ascii_letters + string.digits + "_-")


@given(st.text(max_size=140))
def test_a_run_id_is_exactly_the_pattern(text: str) -> None:
    assert is_run_id(text) is (1 <= len(text) <= 128 and set(text) <= ALLOWED)


# RunRecord and Outcome


@pytest.mark.parametrize(
    ("status", "finished_at", "terminal"),
    [
        ("SUCCEEDED", None, True),
        ("FAILED", "2026-01-01T00:00:00Z", True),
        ("TRANSFORMING", None, False),
        ("TRANSFORMING", "2026-01-01T00:00:00Z", False),
        ("PAUSED", None, False),
        ("PAUSED", "", False),
        ("EXPIRED", "2026-01-01T00:00:00Z", True),
    ],
)
def test_an_unknown_status_has_ended_if_it_says_when(
    status: str, finished_at: str | None, terminal: bool
) -> None:
    record = RunRecord("r", RunStatus(status), {"finished_at": finished_at})

    assert record.is_terminal is terminal


def nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"a": value}
    return value


def test_metadata_is_as_deep_as_can_be_sent_or_refused() -> None:
    taken = []
    for levels in range(245, 260):
        try:
            request = RunRequest("f:v1", "a.csv", nested(levels))
        except InvalidRequestError:
            continue
        taken.append(levels)
        assert orjson.loads(endpoints.submit(request, "key").body or b"")["run_metadata"] == nested(levels)
        assert entries.canonical(request)
    assert taken == list(range(245, taken[-1] + 1))


@pytest.mark.parametrize(
    "raw",
    [
        {"id": "r", "rate": 0.1, "none": None, "list": [1, {"é": "ü"}], "big": 2**63},
        nested(100),
        nested(900),  # more than orjson writes
    ],
    ids=["values", "deep", "deeper"],
)
def test_a_packed_record_is_the_same_record(raw: dict[str, Any]) -> None:
    kept, packed = (RunRecord("r", RunStatus.CREATED, raw) for _ in range(2))
    packed.pack()

    assert packed == kept
    assert packed.raw == raw
    packed.pack()
    assert pickle.loads(pickle.dumps(packed)) == kept


def test_an_outcome_raises_its_error() -> None:
    error = ResponseDecodeError("bad")

    with pytest.raises(ResponseDecodeError) as caught:
        Outcome("r", error=error).result()

    assert caught.value is error


@pytest.mark.parametrize(
    ("field", "bad"),
    [
        ("idempotency_key", ""),
        ("idempotency_key", "a\nb"),
        ("idempotency_key", " "),
        ("idempotency_key", " a"),
        ("idempotency_key", "a "),
        ("idempotency_key", "k" * 256),
        ("idempotency_key", "ключ"),
        ("idempotency_key", 7),
        ("webhook_url", ""),
        ("webhook_url", "example.com/hook"),
        ("webhook_url", "ftp://example.com"),
        ("webhook_url", "https://"),
        ("webhook_url", "https://example.com:99999/"),
        ("webhook_url", "https://example.com/\n"),
        ("webhook_url", "https://example.com/" + "x" * 2048),
    ],
)
def test_a_request_refuses_a_key_or_a_webhook_that_can_never_be_valid(field: str, bad: Any) -> None:
    with pytest.raises(InvalidRequestError, match=field):
        RunRequest("f:v1", "s.csv", **{field: bad})


def test_metadata_may_be_any_mapping() -> None:
    """As its type says; a dict is taken as it is."""
    own = {"team": "sales"}
    assert RunRequest("f", "s", own).run_metadata is own
    assert RunRequest("f", "s", MappingProxyType(own)).run_metadata == own
    assert type(RunRequest("f", "s", MappingProxyType(own)).run_metadata) is dict
