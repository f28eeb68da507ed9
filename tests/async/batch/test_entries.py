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
from lume_async._batch.entries import DamagedError, Kind, Row

RUN = json.loads((Path(__file__).parents[2] / "contract" / "run_succeeded.json").read_bytes())

NONE = entries.Samples()

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


def rows_of(item: int, *said: tuple[Kind, bytes]) -> list[Row]:
    return [(kind, entries.encode(item, kind, content)) for kind, content in said]


@given(
    st.integers(0, 2**40),
    st.dictionaries(texts, values, max_size=3),
    st.booleans(),
    keys,
    run_ids,
    st.booleans(),
    values,
    st.builds(entries.Samples, st.binary(max_size=50), st.binary(max_size=50)),
)
def test_what_is_written_is_read(
    item: int,
    metadata: dict[str, Any],
    force: bool,
    key: str,
    run_id: str,
    flag: bool,
    outcome: Any,
    samples: entries.Samples,
) -> None:
    request = RunRequest("f:v1", "a.csv", metadata or None, force)
    said = entries.canonical(request)
    rows = rows_of(
        item,
        (Kind.SENDING, entries.sending(said, key, 1.5, samples, by_server=flag)),
        (Kind.SUBMITTED, entries.submitted(run_id, reused=flag)),
        (Kind.ENDED, entries.ended(entries.json_of(outcome), said, run_id, samples)),
    )
    refused = rows_of(item, (Kind.REFUSED, entries.refused(entries.json_of(outcome), said, run_id)))
    for present in (None, said, b"another"):
        for kind, each in ((Kind.ENDED, rows), (Kind.REFUSED, rows[:2] + refused)):
            entry, was = entries.read(item, each, samples, present)
            assert entry == entries.Entry(key, 1.5, flag, kind, run_id, flag, outcome)
            assert was == said
    assert entries.request_of(said) == request


def test_a_run_is_small_where_others_like_it_came_before() -> None:
    first = entries.canonical(RunRequest(RUN["flow_version"], "other.csv", {"ticket": "A-0"}))
    like = {**RUN, "source_path": "other.csv", "run_metadata": {"ticket": "A-0"}}
    marked = entries.marked(entries.json_of(like), first, RUN["id"])
    samples = entries.Samples(*map(entries.sample_of, map(entries.sample, (first, marked))))
    said = entries.canonical(RunRequest(RUN["flow_version"], RUN["source_path"], RUN["run_metadata"]))
    run_id = f"run_{uuid.uuid4().hex}"
    run = json.dumps(RUN, separators=(",", ":")).replace(RUN["id"], run_id).replace(":05.", ":07.").encode()
    rows = rows_of(
        999_999,
        (Kind.SENDING, entries.sending(said, uuid.uuid4().hex, 1.5, samples, by_server=True)),
        (Kind.SUBMITTED, entries.submitted(run_id, reused=False)),
        (Kind.ENDED, entries.ended(run, said, run_id, samples)),
    )
    assert len(run) > 1300
    assert sum(len(body) for _kind, body in rows) < 130


def test_a_sample_is_the_beginning_and_a_damaged_one_is_noticed() -> None:
    assert entries.sample_of(entries.sample(b"x" * 5000)) == b"x" * 2048
    for damaged in (b"", entries.sample(b"text")[:-1]):
        with pytest.raises(DamagedError):
            entries.sample_of(damaged)


def test_metadata_deeper_than_orjson_writes() -> None:
    deep: Any = "bottom"
    for _ in range(900):
        deep = {"": deep}
    assert entries.json_of(deep) == b'{"":' * 900 + b'"bottom"' + b"}" * 900


def test_every_damaged_byte_is_noticed() -> None:
    said = entries.canonical(RunRequest("f:v1", "a.csv"))
    rows = rows_of(
        3,
        (Kind.SENDING, entries.sending(said, "0" * 32, 1.5, NONE, by_server=True)),
        (Kind.SUBMITTED, entries.submitted("run_1", reused=False)),
        (Kind.ENDED, entries.ended(entries.json_of(RUN), said, "run_1", NONE)),
    )
    for n, (kind, body) in enumerate(rows):
        for place in range(len(body)):
            wrong = bytearray(body)
            wrong[place] ^= 1 << place % 8
            with pytest.raises(DamagedError):
                entries.read(3, [*rows[:n], (kind, bytes(wrong)), *rows[n + 1 :]], NONE, said)
        with pytest.raises(DamagedError):
            entries.read(3, [*rows[:n], (kind, body[:-1]), *rows[n + 1 :]], NONE, said)
    with pytest.raises(DamagedError):
        entries.read(4, rows, NONE, said)  # of another item
    with pytest.raises(DamagedError):
        entries.read(3, rows[1:], NONE, said)  # without its beginning
    for odd in (None, "text", b""):
        with pytest.raises(DamagedError):
            entries.read(3, [(Kind.SENDING, odd)], NONE, said)  # type: ignore[list-item]


@pytest.mark.parametrize("content", [b"", b"\x00", b"not deflated at all", b"\xff" * 40])
def test_bytes_that_were_never_written_are_damage_too(content: bytes) -> None:
    for kind in (Kind.SENDING, Kind.ENDED):
        said = entries.canonical(RunRequest("f:v1", "a"))
        start = rows_of(0, (Kind.SENDING, entries.sending(said, "k", 1.0, NONE, by_server=False)))
        with pytest.raises(DamagedError):
            entries.read(0, [*start, *rows_of(0, (kind, content))], NONE)


def test_the_dictionary_belongs_to_the_form_of_the_file() -> None:
    """No journal that was written with another one can be read: a change needs another application id."""
    assert zlib.crc32(deflate.DICTIONARY) == DICTIONARY


DICTIONARY = 0xC85D94C3
