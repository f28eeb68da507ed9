"""What requests may say. Tables, no sockets."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lume_local._http import queries
from lume_local._http import requests as _requests
from lume_local._http.exchange import Problem

GOOD = {"flow_version": "f:v1", "source_path": "a.csv"}


def body(**fields: Any) -> bytes:
    return json.dumps({**GOOD, **fields}).encode()


def test_the_least_that_is_needed() -> None:
    wanted = _requests.submission(body())
    assert (wanted.run_metadata, wanted.force_rerun) == (None, False)
    assert _requests.submission(body(run_metadata=None, webhook_url=None)) == wanted
    assert _requests.submission(b"\xef\xbb\xbf" + body()) == wanted


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", "malformed-json"),
        (b"{", "malformed-json"),
        (b"[]", "malformed-json"),
        (b'"x"', "malformed-json"),
        (b"\xff", "malformed-json"),
        (b"[" * 100_000, "malformed-json"),
        (rb'{"flow_version": "a:v1", "source_path": "\ud800"}', "malformed-json"),
        (
            rb'{"flow_version": "a:v1", "source_path": "a", "run_metadata": {"x": [1, {"\udfff": 1}]}}',
            "malformed-json",
        ),
        (b'{"run_metadata": {"a": NaN}}', "malformed-json"),
        (b'{"run_metadata": {"a": -Infinity}}', "malformed-json"),
        (b'{"flow_version": "a:v1", "source_path": "a", "source_path": "b"}', "malformed-json"),
        (b'{"flow_version": "a:v1", "source_path": "a", "run_metadata": {"k": 1, "k": 1}}', "malformed-json"),
    ],
)
def test_bodies_that_are_no_json_object(content: bytes, kind: str) -> None:
    with pytest.raises(Problem) as caught:
        _requests.submission(content)
    assert caught.value.status == 400
    assert caught.value.document["type"].endswith(kind)


DEEP: dict[str, Any] = {}
for _ in range(40):
    DEEP = {"x": DEEP}


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"flow_version": None}, "flow_version", "must be a string, not null"),
        ({"flow_version": 7}, "flow_version", "not a number"),
        ({"flow_version": ""}, "flow_version", "is empty"),
        ({"flow_version": "x" * 257}, "flow_version", "the maximum is 256"),
        ({"source_path": "  "}, "source_path", "is empty"),
        ({"source_path": "a\nb"}, "source_path", "control character"),
        ({"source_path": "a\x00b"}, "source_path", "control character"),
        ({"source_path": "a\x85b"}, "source_path", "control character"),
        ({"source_path": "a\u2028b"}, "source_path", "control character"),
        ({"source_path": "x" * 4097}, "source_path", "the maximum is 4,096"),
        ({"force_rerun": 1}, "force_rerun", "true or false, not a number"),
        ({"force_rerun": "true"}, "force_rerun", "true or false, not a string"),
        ({"run_metadata": []}, "run_metadata", "must be an object, not an array"),
        ({"run_metadata": DEEP}, "run_metadata", "32 levels"),
        ({"run_metadata": {"x": "y" * 70_000}}, "run_metadata", "65,536 bytes"),
        ({"run_metadata": {"x": 2**64}}, "run_metadata", "64 bits"),
        ({"sourcepath": "x"}, "sourcepath", "not a field"),
        ({"webhook_url": 7}, "webhook_url", "must be a string, not a number"),
        ({"webhook_url": "http://x/" + "y" * 2048}, "webhook_url", "the maximum is 2,048"),
    ],
)
def test_bad_fields_are_named(fields: dict[str, Any], field: str, words: str) -> None:
    with pytest.raises(Problem) as caught:
        _requests.submission(body(**fields))
    assert caught.value.status == 422
    assert caught.value.document["field"] == field
    assert words in caught.value.document["detail"]


def nested(depth: int, inner: Any = 1, kind: type = dict) -> Any:
    for _ in range(depth):
        inner = {"x": inner} if kind is dict else [inner]
    return inner


MOST = 65_536
TOO_LARGE = "run_metadata: is larger than 65,536 bytes"
TOO_DEEP = "run_metadata: is nested more than 32 levels deep"
LIMITS: dict[str, tuple[Any, str]] = {
    "32 levels": (nested(31, {}), ""),
    "33 levels": (nested(32, {}), TOO_DEEP),
    "32 levels of lists": ({"a": nested(30, [], list)}, ""),
    "33 levels of lists": ({"a": nested(31, [], list)}, TOO_DEEP),
    "all bytes": ({"a": "x" * (MOST - 9)}, ""),
    "a byte more": ({"a": "x" * (MOST - 8)}, TOO_LARGE),
    "bytes of letters": ({"a": "é" * 32_700}, ""),
    "more of them": ({"a": "é" * 32_800}, TOO_LARGE),
    "bytes of other letters": ({"a": "😀" * 16_380}, ""),
    "more of these": ({"a": "😀" * 16_390}, TOO_LARGE),
    "a name of all bytes": ({"x" * (MOST - 7): 1}, ""),
    "many values": ({"a": [1] * 21_843}, ""),
    "one more": ({"a": [1] * 21_844}, TOO_LARGE),
    "many empty ones": ({"a": [[]] * 16_382}, ""),
    "as many values as bytes allow": ({"a": [nested(29, [], list)] * 1023}, ""),
    "a MiB of values": ({"a": [1] * 500_000}, TOO_LARGE),
    "a MiB of objects": ({"a": [{}] * 250_000}, TOO_LARGE),
    "a MiB of names": ({f"{n:06}": 1 for n in range(80_000)}, TOO_LARGE),
    "a MiB of text": ({"a": "x" * 1_000_000}, TOO_LARGE),
    "the largest numbers": ({"a": [2**64 - 1, -(2**63), 1e18]}, ""),
    "too large a number": ({"a": [0, {"b": 2**64}]}, "a[1].b is a number of more than 64 bits"),
    "too small a number": ({"a": -(2**63) - 1}, "run_metadata.a is a number of more than 64 bits"),
    "too large a fraction": ({"a": 1e300}, "run_metadata.a is a number of more than 64 bits"),
    "a number in a long name": ({"x" * 10_000: 2**64}, "x is a number of more than 64 bits"),
}


@pytest.mark.parametrize("case", LIMITS)
def test_how_much_metadata_may_be(case: str) -> None:
    metadata, words = LIMITS[case]
    content = json.dumps({**GOOD, "run_metadata": metadata}, ensure_ascii=False).encode()
    if not words:
        assert _requests.submission(content).run_metadata == metadata
        return
    with pytest.raises(Problem) as caught:
        _requests.submission(content)
    assert (caught.value.status, caught.value.document["field"]) == (422, "run_metadata")
    assert words in caught.value.document["detail"]


def test_of_too_much_metadata_only_as_much_is_looked_at_as_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    looked, check = 0, _requests._check_json

    def counted(*arguments: Any) -> int:
        nonlocal looked
        looked += 1
        return check(*arguments)

    monkeypatch.setattr(_requests, "_check_json", counted)
    for metadata in ({"a": [1] * 500_000}, {"a": [{"b": []}] * 100_000}):
        looked = 0
        with pytest.raises(Problem, match="65,536"):
            _requests.submission(body(run_metadata=metadata))
        assert looked <= MOST / 2 + 1


@pytest.mark.parametrize("missing", ["flow_version", "source_path"])
def test_missing_fields_are_named(missing: str) -> None:
    content = {name: value for name, value in GOOD.items() if name != missing}
    with pytest.raises(Problem) as caught:
        _requests.submission(json.dumps(content).encode())
    assert caught.value.document["field"] == missing


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(-(2.0**63), 2.0**64, exclude_max=True)
    | st.text(),
    lambda below: st.lists(below, max_size=4) | st.dictionaries(st.text(), below, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), JSON, max_size=5))
def test_metadata_comes_back_as_it_was_sent(metadata: dict[str, Any]) -> None:
    wanted = _requests.submission(body(run_metadata=metadata))
    assert wanted.run_metadata == metadata
    turned = dict(reversed(metadata.items()))
    assert _requests.submission(body(run_metadata=turned)).fingerprint() == wanted.fingerprint()


@pytest.mark.parametrize(
    "fields", [{"source_path": "b"}, {"force_rerun": True}, {"run_metadata": {}}, {"flow_version": "f:v2"}]
)
def test_requests_that_differ_have_different_fingerprints(fields: dict[str, Any]) -> None:
    assert _requests.submission(body(**fields)).fingerprint() != _requests.submission(body()).fingerprint()


@pytest.mark.parametrize("key", ["", " ", "a b", "é", "x" * 256, "a\tb"])
def test_bad_keys(key: str) -> None:
    with pytest.raises(Problem):
        _requests.idempotency_key([key])


def test_good_keys() -> None:
    assert _requests.idempotency_key([]) is None
    assert _requests.idempotency_key(["x" * 255]) == "x" * 255


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ([], None),
        (["wait=10"], 10),
        (["Wait = 10"], 10),
        (["respond-async, wait=5"], 5),
        (["respond-async", "wait=5"], 5),
        (['wait="7"'], 7),
        (["wait=7; strict"], 7),
        (["wait=100000"], 60),
        (["wait=0"], 0),
        (["wait=-1"], None),
        (["wait=1.5"], None),
        (["wait"], None),
        (["waiting=3"], None),
        (["wait=99999999999999999999"], None),
    ],
)
def test_prefer(headers: list[str], seconds: int | None) -> None:
    assert _requests.wait_seconds(headers) == seconds


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], False),
        (['W/"r.1"'], True),
        (['"r.1"'], True),
        (['W/"r.2"'], False),
        (['"x", W/"r.1"'], True),
        (['"x"', 'W/"r.1"'], True),
        (["*"], True),
        (["r.1"], False),
    ],
)
def test_if_none_match(headers: list[str], expected: bool) -> None:
    assert _requests.matches(headers, 'W/"r.1"') is expected


@pytest.mark.parametrize("text", ["", "0", "1001", "-1", "1.0", "x", "1e2", "٣", " 5", "9" * 30])
def test_numbers_out_of_bounds(text: str) -> None:
    with pytest.raises(Problem, match="limit"):
        queries.limit_of({"limit": text}, 50, 1000)


@pytest.mark.parametrize("text", ["", "abc", "abc-", "abc-x", "xyz-1", "abc--1", "1", "abc-" + "9" * 40])
def test_cursors_of_elsewhere(text: str) -> None:
    with pytest.raises(Problem) as caught:
        queries.number_cursor(text, "abc")
    assert caught.value.status == 400
    assert queries.number_cursor("abc-12", "abc") == 12
