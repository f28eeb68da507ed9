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
from lume_async._batch.entries import DamagedError, Entry, Kind, Row

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


def rows_of(item: int, *said: tuple[Kind, bytes]) -> list[Row]:
    """Entries that follow one another."""
    rows: list[Row] = []
    for kind, content in said:
        since = [at for at, row in enumerate(rows) if row[0] == Kind.SENDING][-1:]
        if kind is Kind.SENDING or not since:
            before = b""
        else:
            before = b"".join(each for _, each in entries.decode(item, rows[since[0] :]))
        rows.append((kind, entries.encode(item, kind, content, before)))
    return rows


@given(
    st.integers(0, 2**40),
    st.dictionaries(texts, values, max_size=3),
    st.booleans(),
    keys,
    run_ids,
    st.booleans(),
    values,
)
def test_what_is_written_is_read(
    item: int, metadata: dict[str, Any], force: bool, key: str, run_id: str, flag: bool, outcome: Any
) -> None:
    request = RunRequest("f:v1", "a.csv", metadata or None, force)
    said = entries.canonical(request)
    begun = [
        (Kind.SENDING, entries.sending(said, "earlier", 0.5, by_server=False)),
        (Kind.UNSENT, b"no room"),
        (Kind.SENDING, entries.sending(said, key, 1.5, by_server=flag)),
        (Kind.SUBMITTED, entries.json_of([run_id, flag])),
    ]
    for kind in (Kind.ENDED, Kind.REFUSED):
        rows = rows_of(item, *begun, (kind, entries.json_of(outcome)))
        assert entries.read(item, rows) == Entry(key, 1.5, flag, said, kind, run_id, flag, outcome)
    assert entries.request_of(said) == request


def test_an_item_is_small() -> None:
    said = entries.canonical(RunRequest(RUN["flow_version"], RUN["source_path"], RUN["run_metadata"]))
    run_id = f"run_{uuid.uuid4().hex}"
    run = json.dumps(RUN, separators=(",", ":")).replace(RUN["id"], run_id).encode()
    rows = rows_of(
        999_999,
        (Kind.SENDING, entries.sending(said, uuid.uuid4().hex, 1.5, by_server=True)),
        (Kind.SUBMITTED, entries.json_of([run_id, False])),
        (Kind.ENDED, run),
    )
    assert len(run) > 1300
    assert sum(len(body) for _kind, body in rows) < 400


def test_metadata_deeper_than_orjson_writes() -> None:
    deep: Any = "bottom"
    for _ in range(900):
        deep = {"": deep}
    assert entries.json_of(deep) == b'{"":' * 900 + b'"bottom"' + b"}" * 900


def test_every_damaged_byte_is_noticed() -> None:
    said = entries.canonical(RunRequest("f:v1", "a.csv"))
    rows = rows_of(
        3,
        (Kind.SENDING, entries.sending(said, "0" * 32, 1.5, by_server=True)),
        (Kind.SUBMITTED, entries.json_of(["run_1", False])),
        (Kind.ENDED, entries.json_of(RUN)),
    )
    for n, (kind, body) in enumerate(rows):
        for place in range(len(body)):
            wrong = bytearray(body)
            wrong[place] ^= 1 << place % 8
            with pytest.raises(DamagedError):
                entries.read(3, [*rows[:n], (kind, bytes(wrong)), *rows[n + 1 :]])
        with pytest.raises(DamagedError):
            entries.read(3, [*rows[:n], (kind, body[:-1]), *rows[n + 1 :]])
    with pytest.raises(DamagedError):
        entries.read(4, rows)  # of another item
    with pytest.raises(DamagedError):
        entries.read(3, rows[1:])  # without its beginning
    for odd in (None, "text", b""):
        with pytest.raises(DamagedError):
            entries.read(3, [(Kind.SENDING, odd)])  # type: ignore[list-item]


@pytest.mark.parametrize("content", [b"", b"\x00", b"not deflated at all", b"\xff" * 40])
def test_bytes_that_were_never_written_are_damage_too(content: bytes) -> None:
    for kind in (Kind.SENDING, Kind.ENDED):
        said = entries.canonical(RunRequest("f:v1", "a"))
        start = rows_of(0, (Kind.SENDING, entries.sending(said, "k", 1.0, by_server=False)))
        with pytest.raises(DamagedError):
            entries.read(0, [*start, (kind, entries._sealed(0, kind, content))])


def test_the_dictionary_belongs_to_the_form_of_the_file() -> None:
    """No journal that was written with another one can be read: a change needs another `FORM`."""
    assert zlib.crc32(deflate.DICTIONARY) == DICTIONARY


DICTIONARY = 0x38727D20
