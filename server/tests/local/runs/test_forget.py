"""A person is forgotten: no byte of the data folder has the value, and what is left can be used as before."""

import base64
import gzip
import hashlib
import io
import json
import zipfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
from local.flows import PEOPLE
from local.wire import Wire

ADA = "ada@example.com"
SOURCE = f"id,Email,Age\n1,{ADA},36\n2,bob@example.org,40\nx,{ADA},7\n3,cy@example.org,x\n"
CSV = PEOPLE.replace('"people"', '"plain"') + (
    '[target]\nmapped = "{data}/out/{run_id}/mapped.csv"\nrejects = "{data}/out/{run_id}/rejects.csv"\n'
)


async def forget(
    wire: Wire, match: Mapping[str, str] = {"email": ADA}, **fields: Any
) -> tuple[list[int], set[str], dict[str, str]]:
    """All pages of a request: rows of outputs, of rejects, and texts; the uploads; and what is left."""
    counts, uploads, left, cursor = Counter[str](), set[str](), dict[str, str](), None
    while True:
        body = {"match": match, "dry_run": False, "cursor": cursor, **fields}
        answer = await wire.ask("POST", "/v1/forget", json=body)
        assert answer.status == 200, answer.document
        counts.update({name: answer.document[name] for name in ("outputs", "rejects", "texts")})
        uploads.update(answer.document["uploads"])
        left |= answer.document["left"]
        if (cursor := answer.document["next_cursor"]) is None:
            return list(counts.values()), uploads, left


def mentions(folder: Path, value: str) -> list[str]:
    """The files in which any byte sequence, unpacked or not, has the value."""
    return [
        str(path.relative_to(folder))
        for path in sorted(folder.rglob("*"))
        if path.is_file() and any(value.encode() in content for content in _contents(path))
    ]


def _contents(path: Path) -> list[bytes]:
    found = [path.read_bytes()]
    if found[0].startswith(b"PAR1"):
        rows = duckdb.sql(f"FROM read_parquet('{path}')").fetchall()
        metadata = duckdb.sql(f"FROM parquet_metadata('{path}')").fetchall()
        found += [repr(rows).encode(), repr(metadata).encode()]
    elif found[0].startswith(b"\x1f\x8b"):
        found.append(gzip.decompress(found[0]))
    elif found[0].startswith(b"PK"):
        with zipfile.ZipFile(path) as archive:
            found += [archive.read(name) for name in archive.namelist()]
    return found


async def upload(wire: Wire, name: str, content: bytes) -> str:
    answer = await wire.ask("PUT", f"/v1/uploads/{name}", data=content)
    assert answer.status == 201, answer.document
    return str(answer.document["source_path"])


async def rows(wire: Wire, run: dict[str, Any], part: str) -> list[dict[str, Any]]:
    answer = await wire.ask("GET", f"/v1/runs/{run['id']}/{part}")
    assert answer.status == 200, answer.document
    return list(answer.document["items"])


async def test_nothing_in_the_data_folder_has_the_value(wire: Wire, home: Path) -> None:
    run = await wire.run("people:v1", await upload(wire, "a.csv", SOURCE.encode()))
    await upload(wire, "unread.csv.gz", gzip.compress(SOURCE.encode()))
    book = io.BytesIO()
    with zipfile.ZipFile(book, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/sharedStrings.xml", f"<t>{ADA}</t>")
    await upload(wire, "unread.xlsx", book.getvalue())
    await upload(wire, "bob.csv", b"id,Email,Age\n7,bob@example.org,1\n")
    why = {"why": f"asked {ADA} herself"}
    assert (await wire.ask("POST", f"/v1/runs/{run['id']}/dismiss", json=why)).status == 200
    change = {"run": run["id"], "row": 1, "rev": 0, "cells": {"id": "4", "Age": "8"}}
    assert (await wire.ask("PATCH", "/v1/drafts/people", json={"rows": [change]})).status == 200
    counted = await forget(wire, dry_run=True)
    assert counted == ([1, 1, 2], {"a.csv", "unread.csv.gz", "unread.xlsx"}, {})
    assert len(mentions(home / ".lume", ADA)) >= 6, "a dry run has changed nothing"
    assert await forget(wire) == counted
    left = mentions(home / ".lume", ADA)
    assert left == [], left
    assert await forget(wire) == ([0, 0, 0], set(), {})

    run = (await wire.get(run["id"])).document
    metrics = run["metadata"]["metrics"]
    assert (metrics["rows_read"], metrics["rows_mapped"], metrics["rows_filtered"]) == (4, 1, 1)
    assert [row["email"] for row in await rows(wire, run, "mapped")] == ["bob@example.org"]
    first, second = await rows(wire, run, "rejects")
    assert (first["_lume_row"], first["Email"], first["id"]) == (3, None, None)
    assert (second["_lume_row"], second["Email"]) == (4, "cy@example.org")
    async with wire.session.get(f"/v1/runs/{run['id']}/outputs/mapped") as output:
        assert output.status == 200
        content = await output.read()
    digest = base64.b64encode(hashlib.sha256(content).digest()).decode()
    assert output.headers["Repr-Digest"] == f"sha-256=:{digest}:"
    (still,) = (await wire.ask("GET", "/v1/rejects", params={"flow": "people"})).document["items"]
    assert still["_lume_row"] == 4
    assert (await wire.ask("GET", "/v1/drafts/people")).document["rows"] == 0
    acts = (await wire.ask("GET", "/v1/audit", params={"what": "forget"})).document["items"]
    assert [act["subject"] for act in acts] == ["uploads and texts"] * 2 + [run["id"]]
    assert acts[-1]["detail"] == {"columns": ["email"], "mapped": 1, "rejects": 1}
    assert ADA not in json.dumps(acts)
