"""`SimulatedFiles`: the uploads of a simulated server and the outputs of its runs, with the habits of servers."""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Literal, TypeAlias

import orjson
from attrs import define, field

from lume_async._wire.row_endpoints import ARROW
from lume_async.testing._chance import Chance
from lume_async.testing._fakes import FakeAnswer, FakeRequest

Outputs: TypeAlias = dict[str, bytes]
PLACE = "upload://"
"""What the source path of an upload begins with."""
_SHA256 = re.compile(r"sha-256=:([A-Za-z0-9+/]{43}=):")
_RANGE = re.compile(r"bytes=([0-9]+)-")


@lru_cache(8)
def split(content: bytes) -> Outputs:
    """Return the outputs of a run on a file: its lines, of which those with "bad" are rejected.

    Examples:
        >>> print(split(b"a\\nbad\\n")["rejects"])
        b'bad\\n'
    """
    lines = content.splitlines(keepends=True)
    return {
        "mapped": b"".join(line for line in lines if b"bad" not in line),
        "rejects": b"".join(line for line in lines if b"bad" in line),
    }


@define(eq=False)
class SimulatedFiles:
    """The uploads and outputs of a `SimulatedServer`, as its `files`.

    Args:
        lacks: what it lacks ("uploads", "continued", "outputs", "rows"), and the status with which it answers there.
        etag: the kind of an output's `ETag`.
        ranges: what becomes of `Range`: the rest of the same file, the whole file, or the rest of whatever is there.
        digest: whether it tells the `Repr-Digest` of outputs.
        block: the part of an upload that broke off is kept in whole blocks of so many bytes.
        page: the most rows of a page, unless these are very many pages.
        arrow: whether it sends rows as Arrow.

    Attributes:
        stored: the complete uploads by name.
        begun: the parts of uploads that have arrived.
        versions: how often the outputs of a run have been written again.

    Examples:
        >>> server = SimulatedServer()
        >>> server.files.stored["a.csv"] = b"a,b"
    """

    lacks: dict[str, int] = field(factory=dict)
    etag: Literal["strong", "weak", "none"] = "strong"
    ranges: Literal["kept", "ignored", "blind"] = "kept"
    digest: bool = True
    block: int = 1
    page: int = 1_000_000
    arrow: bool = True
    stored: dict[str, bytes] = field(factory=dict)
    begun: dict[str, bytes] = field(factory=dict)
    versions: dict[str, int] = field(factory=dict)

    @classmethod
    def drawn(cls, chance: Chance) -> "SimulatedFiles":
        """Return files with habits that are drawn.

        Examples:
            >>> files = SimulatedFiles.drawn(Chance(7))
        """
        return cls(
            lacks={"continued": 501} if chance.happens(0.15, "uploads are not continued") else {},
            etag=chance.pick("ETags are", ["strong", "strong", "weak", "none"]),
            ranges=chance.pick("ranges are", ["kept", "kept", "ignored", "blind"]),
            digest=not chance.happens(0.3, "no digests"),
            block=chance.pick("uploads are kept in blocks of", [1, 1, 4096]),
            page=chance.pick("rows a page", [1_000_000, 1, 3]),
            arrow=not chance.happens(0.3, "no Arrow"),
        )

    def rewrite(self, run_id: str) -> None:
        """Write the outputs of a run again, with other bytes.

        Examples:
            >>> SimulatedFiles().rewrite("run_1")
        """
        self.versions[run_id] = self.versions.get(run_id, 0) + 1

    def forget(self) -> None:
        """Lose all uploads.

        Examples:
            >>> SimulatedFiles().forget()
        """
        self.stored, self.begun = {}, {}

    def has_rejects(self, source_path: str) -> bool:
        """Return whether a run on it rejects rows.

        Examples:
            >>> print(SimulatedFiles(stored={"a.csv": b"bad"}).has_rejects("upload://a.csv"))
            True
        """
        return bool(split(self.stored.get(source_path.removeprefix(PLACE), b""))["rejects"])

    def output(self, run_id: str, source_path: str, part: str, version: int | None = None) -> bytes:
        """Return an output of a run, as it is or was in a version.

        Examples:
            >>> files = SimulatedFiles(stored={"a.csv": b"a"})
            >>> print(files.output("run_1", "upload://a.csv", "mapped"))
            b'a'
        """
        found = split(self.stored.get(source_path.removeprefix(PLACE), b""))[part]
        version = self.versions.get(run_id, 0) if version is None else version
        # Of the same length in each second version, so that no length tells them apart.
        return found if not version else found.swapcase() + b"\n" * (version % 2)

    def part(self, request: FakeRequest) -> None:
        """Keep the part of an upload that arrived before it broke off.

        Examples:
            >>> SimulatedFiles().part(FakeRequest("PUT", "/v1/uploads/a.csv", body=b"a,b"))
        """
        name, content = _name(request), request.body or b""
        if name is None or {"uploads", "continued"} & self.lacks.keys():
            return
        if request.method == "PUT":
            self.begun[name] = content[: len(content) // self.block * self.block]
        elif request.method == "PATCH" and _offset(request) == len(self.begun.get(name, b"")):
            whole = self.begun.get(name, b"") + content
            self.begun[name] = whole[: max(_offset(request), len(whole) // self.block * self.block)]

    def on_upload(self, request: FakeRequest, name: str) -> FakeAnswer:
        """Answer a request about an upload."""
        needs = "continued" if request.method in ("HEAD", "PATCH", "GET") else "uploads"
        if needs in self.lacks:
            return FakeAnswer(self.lacks[needs])
        if request.method in ("HEAD", "GET"):
            return self._state(name, is_shown=request.method == "GET")
        content = request.body or b""
        if request.method == "PATCH":
            held = self.begun.get(name)
            if held is None:
                return FakeAnswer(404 if name not in self.stored else 409)
            if len(held) != _offset(request):
                return FakeAnswer(409, b"", {"Upload-Offset": str(len(held))})
            content = held + content
        told = _SHA256.search(request.headers.get("Repr-Digest", ""))
        self.begun.pop(name, None)
        if told is None or told[1] != _digest(content):
            return FakeAnswer(400)
        self.stored[name] = content
        return FakeAnswer(201, self._shown(name), {"Upload-Complete": "?1"})

    def on_output(self, request: FakeRequest, run_id: str, source_path: str, part: str) -> FakeAnswer:
        """Answer a request for an output, or for a part of it."""
        if "outputs" in self.lacks:
            return FakeAnswer(self.lacks["outputs"])
        content = self.output(run_id, source_path, part)
        etag = {"strong": f'"{_digest(content)}"', "weak": f'W/"{len(content)}"', "none": ""}[self.etag]
        headers = {"Content-Disposition": f'attachment; filename="{part}.csv"'}
        headers |= {"ETag": etag} if etag else {}
        headers |= {"Repr-Digest": f"sha-256=:{_digest(content)}:"} if self.digest else {}
        asked = _RANGE.fullmatch(request.headers.get("Range", ""))
        is_same = request.headers.get("If-Range", etag) == etag or self.ranges == "blind"
        if asked is None or self.ranges == "ignored" or not is_same:
            return FakeAnswer(200, content, {**headers, "Content-Length": str(len(content))})
        start = int(asked[1])
        if start >= len(content):
            return FakeAnswer(416, b"", {"Content-Range": f"bytes */{len(content)}"})
        headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        return FakeAnswer(206, content[start:], {**headers, "Content-Length": str(len(content) - start)})

    def on_rows(
        self, request: FakeRequest, query: Mapping[str, str], run_id: str, source_path: str, part: str
    ) -> FakeAnswer:
        """Answer a request for a page of rows."""
        if "rows" in self.lacks:
            return FakeAnswer(self.lacks["rows"])
        version = str(self.versions.get(run_id, 0))
        seen, _, first = query.get("cursor", f"{version}.0").partition(".")
        if seen != version:
            return FakeAnswer(
                409, {"type": "urn:lume:problem:output-changed", "title": "changed", "status": 409}
            )
        rows = rows_of(self.output(run_id, source_path, part), part)
        page = max(self.page, len(rows) // 10)  # no more than ten, which is enough
        start, size = int(first), min(page, int(query.get("limit", "100")))
        items, end = rows[start : start + size], start + size
        cursor = f"{version}.{end}" if end < len(rows) else None
        if self.arrow and request.headers.get("Accept") == ARROW:
            more = {"Lume-Next-Cursor": cursor} if cursor else {}
            return FakeAnswer(200, _arrow(items), {"Content-Type": ARROW, **more})
        return FakeAnswer(200, {"items": items, "next_cursor": cursor})

    def _state(self, name: str, *, is_shown: bool) -> FakeAnswer:
        held, is_complete = self.begun.get(name), name in self.stored
        if held is None and not is_complete:
            return FakeAnswer(404)
        size = len(self.stored[name] if held is None else held)
        headers = {"Upload-Offset": str(size), "Upload-Complete": f"?{held is None:d}"}
        return FakeAnswer(200, self._shown(name) if is_shown and held is None else {}, headers)

    def _shown(self, name: str) -> dict[str, Any]:
        content = self.stored[name]
        sha256 = hashlib.sha256(content).hexdigest()
        return {"source_path": PLACE + name, "bytes": len(content), "sha256": sha256}


@lru_cache(8)
def rows_of(content: bytes, part: str) -> list[dict[str, Any]]:
    """Return the lines of an output as rows, after what is in them if they are JSON.

    Examples:
        >>> print(rows_of(b'{"a": 1}', "mapped"))
        [{'a': 1}]
    """
    found = []
    for number, line in enumerate(content.splitlines()):
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        row = row if isinstance(row, dict) else {"line": line.decode("latin-1")}
        reasons = {"_lume_row": number, "_lume_reasons": ["bad"]} if part == "rejects" else {}
        found.append({**reasons, **row})
    return found


def _arrow(rows: list[dict[str, Any]]) -> bytes:
    import pyarrow
    import pyarrow.ipc

    schema = pyarrow.schema([("row", pyarrow.string())])
    table = pyarrow.table({"row": [orjson.dumps(row).decode() for row in rows]}, schema=schema)
    sink = pyarrow.BufferOutputStream()
    with pyarrow.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def _name(request: FakeRequest) -> str | None:
    path = request.path.partition("?")[0]
    return path.removeprefix("/v1/uploads/") if path.startswith("/v1/uploads/") else None


def _offset(request: FakeRequest) -> int:
    return int(request.headers.get("Upload-Offset", "0"))


def _digest(content: bytes) -> str:
    return base64.b64encode(hashlib.sha256(content).digest()).decode()
