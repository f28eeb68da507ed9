"""Entries as bytes: they come back as they were, are small, and a damaged one is known as such."""

import json
import uuid
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lume_async import RunRequest
from lume_async._base import deflate
from lume_async._batch import entries
from lume_async._batch.entries import DamagedError, Entry, Kind, Row, Samples

RUN = json.loads((Path(__file__).parents[2] / "contract" / "run_succeeded.json").read_bytes())

texts = st.text(st.characters(codec="utf-8"), max_size=20)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=10,
)
keys = st.one_of(
    st.uuids().map(lambda it: it.hex),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=255),
)
run_ids = st.one_of(keys.filter(lambda it: len(it) < 128), st.uuids().map(lambda it: f"run_{it.hex}"))


def samples_of(**texts: bytes) -> Samples:
    """Samples as a journal has them, by the names of their topics."""
    topics = {"requests": entries.REQUESTS, "succeeded": 1, "refused": 15}
    rows = [entries.new_sample(-1, topics[name], text) for name, text in texts.items()]
    return entries.read_input(-1, rows)[1]


def item_of(
    item: int, said: bytes, key: str, run_id: str, *, flag: bool = False, samples: Samples | None = None
) -> list[Row]:
    """Entries up to a known run."""
    samples = samples or {}
    return [
        entries.sending(item, said, "earlier", 0.5, by_server=False, samples=samples),
        entries.plain(item, Kind.UNSENT, b"no room"),
        entries.sending(item, said, key, 1.5, by_server=flag, samples=samples),
        entries.submitted(item, run_id, reused=flag),
    ]


def ended(
    item: int, rows: list[Row], value: Any, kind: Kind = Kind.ENDED, samples: Samples | None = None
) -> list[Row]:
    """The same with an outcome."""
    samples = samples or {}
    before = entries.read(item, rows, samples)
    return [*rows, entries.outcome(item, kind, value, entries.json_of(value), before, samples)]


def in_form_1(item: int, *said: tuple[Kind, bytes]) -> list[Row]:
    """Entries as form 1 had them."""
    rows, before = list[Row](), b""
    for kind, content in said:
        before = b"" if kind is Kind.SENDING else before
        is_plain = kind in (Kind.UNSENT, Kind.SUBMITTED)
        data = content if is_plain else deflate.deflated(content, before)
        rows.append((kind, zlib.crc32(data, item << 3 | kind).to_bytes(4) + data))
        before += content
    return rows


sampled = st.sampled_from(
    [{}, samples_of(requests=b'{"flow_version":"f:v1"}', succeeded=entries.json_of(RUN))]
)
outcomes = st.dictionaries(texts, values, max_size=3) | st.just(RUN)


@given(
    st.integers(0, 2**40),
    st.dictionaries(texts, values, max_size=3),
    st.booleans(),
    keys,
    run_ids,
    st.booleans(),
    outcomes,
    sampled,
)
def test_what_is_written_is_read(
    item: int,
    metadata: dict[str, Any],
    force: bool,
    key: str,
    run_id: str,
    flag: bool,
    outcome: dict[str, Any],
    samples: Samples,
) -> None:
    request = RunRequest("f:v1", "a.csv", metadata or None, force)
    said = entries.canonical(request)
    begun = item_of(item, said, key, run_id, flag=flag, samples=samples)
    for kind in (Kind.ENDED, Kind.REFUSED):
        rows = ended(item, begun, outcome, kind, samples)
        assert entries.read(item, rows, samples) == Entry(key, 1.5, flag, said, kind, run_id, flag, outcome)
    assert entries.request_of(said) == request


@given(st.integers(0, 2**20), keys, run_ids, st.booleans(), outcomes, sampled)
def test_what_form_1_had_written_is_read_and_continued(
    item: int, key: str, run_id: str, flag: bool, outcome: dict[str, Any], samples: Samples
) -> None:
    said = entries.canonical(RunRequest("f:v1", "a.csv", {"n": item}))
    sent = entries.json_of([key, 1.5, flag]) + b"\n" + said
    begun = [
        (Kind.SENDING, entries.json_of(["earlier", 0.5, False]) + b"\n" + said),
        (Kind.UNSENT, b"no room"),
        (Kind.SENDING, sent),
        (Kind.SUBMITTED, entries.json_of([run_id, flag])),
    ]
    for kind in (Kind.ENDED, Kind.REFUSED):
        wanted = Entry(key, 1.5, flag, said, kind, run_id, flag, outcome)
        whole = in_form_1(item, *begun, (kind, entries.json_of(outcome)))
        assert entries.read(item, whole, samples) == wanted
        assert (
            entries.read(item, ended(item, in_form_1(item, *begun), outcome, kind, samples), samples)
            == wanted
        )
        again = entries.sending(item, said, "new", 2.5, by_server=True, samples=samples)
        assert entries.read(item, [*whole, again], samples) == Entry("new", 2.5, True, said)


def test_the_run_is_inflated_when_it_is_asked_for() -> None:
    for run, status in (
        (RUN, RUN["status"]),
        (RUN | {"id": "another"}, None),
        (RUN | {"status": "LATER"}, None),
        ({"id": RUN["id"]}, None),
    ):
        entry = entries.read(3, ended(3, item_of(3, b"{}", "key", RUN["id"]), run), {})
        assert entry is not None
        assert (entry.status, entry.body) == (status, run)
        assert isinstance(entry.stored, entries.PackedOutcome) == (status is not None)


def test_an_item_is_small() -> None:
    said = entries.canonical(RunRequest(RUN["flow_version"], RUN["source_path"], RUN["run_metadata"]))
    run_id = f"run_{uuid.uuid4().hex}"
    run = json.loads(json.dumps(RUN).replace(RUN["id"], run_id))
    begun = [
        entries.sending(999_999, said, uuid.uuid4().hex, 1.5, by_server=True, samples={}),
        entries.submitted(999_999, run_id, reused=False),
    ]
    assert len(entries.json_of(run)) > 1300
    assert sum(len(body) for _kind, body in ended(999_999, begun, run)) < 360


def test_metadata_deeper_than_orjson_writes() -> None:
    deep: Any = "bottom"
    for _ in range(900):
        deep = {"": deep}
    assert entries.json_of(deep) == b'{"":' * 900 + b'"bottom"' + b"}" * 900


@pytest.mark.parametrize("samples", [{}, samples_of(requests=b"{}", succeeded=entries.json_of(RUN))])
def test_every_damaged_byte_is_noticed(samples: Samples) -> None:
    said = entries.canonical(RunRequest("f:v1", "a.csv"))
    run_id = f"run_{'0' * 32}"
    rows = ended(
        3, item_of(3, said, "0" * 32, run_id, samples=samples), RUN | {"id": run_id}, samples=samples
    )
    refuses_damage(3, rows, samples)


def test_every_damaged_byte_of_form_1_is_noticed() -> None:
    rows = in_form_1(
        3,
        (Kind.SENDING, entries.json_of(["0" * 32, 1.5, True]) + b"\n{}"),
        (Kind.SUBMITTED, entries.json_of(["run_1", False])),
        (Kind.ENDED, entries.json_of(RUN)),
    )
    refuses_damage(3, rows, {})


def refuses_damage(item: int, rows: list[Row], samples: Samples) -> None:
    """Check that a change of any entry is noticed without inflating the outcome."""

    def refused(at: int, rows: list[Row], changed: object) -> None:
        with pytest.raises(DamagedError):
            entries.read(at, changed, samples)  # type: ignore[arg-type]

    for n, (kind, body) in enumerate(rows):
        for place in range(len(body)):
            wrong = bytearray(body)
            wrong[place] ^= 1 << place % 8
            refused(item, rows, [*rows[:n], (kind, bytes(wrong)), *rows[n + 1 :]])
            refused(item, rows, [*rows[:n], (kind, body[:place]), *rows[n + 1 :]])
        for other in range(-1, 20):
            if other != kind:
                refused(item, rows, [*rows[:n], (other, body), *rows[n + 1 :]])
        for odd in (None, "text", b"", 7):
            refused(item, rows, [*rows[:n], (kind, odd), *rows[n + 1 :]])
        refused(item, rows, [*rows[:n], (None, body), *rows[n + 1 :]])
    refused(item + 1, rows, rows)  # of another item
    refused(item, rows, rows[-2:])  # without its beginning


@pytest.mark.parametrize("without", ["sample", "another sample", "run"])
def test_an_outcome_belongs_to_the_texts_that_inflate_it(without: str) -> None:
    """Deflate itself may return something else without an error."""
    samples = samples_of(requests=b"{}", succeeded=entries.json_of(RUN))
    rows = ended(3, item_of(3, b"{}", "key", RUN["id"], samples=samples), RUN, samples=samples)
    if without == "run":
        del rows[3]
    elif without == "sample":
        del samples[1]
    else:
        samples |= samples_of(succeeded=entries.json_of(RUN).replace(b"SUCC", b"FAIL"))
    with pytest.raises(DamagedError):
        entries.read(3, rows, samples)


def sealed(item: int, kind: int, content: bytes, _context: int) -> Row:
    return kind, entries._sealed(item, kind, content)


@pytest.mark.parametrize("content", [b"", b"\x00", b"not deflated at all", b"\xff" * 40])
def test_bytes_that_were_never_written_are_damage_too(content: bytes) -> None:
    start = entries.sending(0, b"{}", "k", 1.0, by_server=False, samples={})
    for kind in {*range(16)} - {Kind.UNSENT}:
        with pytest.raises(DamagedError):
            seal = entries._packed if kind & entries.PACKED else sealed
            entry = entries.read(0, [start, seal(0, kind, content, zlib.crc32(b"{}"))], {})
            assert entry is not None
            assert entry.body
        with pytest.raises(DamagedError):
            entries.read_input(-1, [(kind, entries._sealed(-1, kind, content))])


def test_the_dictionary_belongs_to_the_form_of_the_file() -> None:
    """No journal that was written with another one can be read: a change needs another `FORM`."""
    assert zlib.crc32(deflate.DICTIONARY) == DICTIONARY


DICTIONARY = 0x38727D20
