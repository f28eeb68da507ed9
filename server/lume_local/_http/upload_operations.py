"""The operations on uploads. Resuming follows the IETF's draft "Resumable Uploads for HTTP"
(draft-ietf-httpbis-resumable-upload): the upload is its own upload resource under the name that the client has
chosen, so no interim response (104) is needed to name one.
"""

import base64
import re
from collections.abc import Mapping

from lume_local._http import lookup, requests
from lume_local._http.exchange import Ask, Problem, Reply
from lume_local._http.uploading.incoming import Announced, StoredUpload
from lume_local._http.uploading.uploads import HeldUpload, Uploads
from lume_local._runs.flow_registry import FlowRegistry

_PARTIAL = "application/partial-upload"
_COMPLETE = re.compile(r"\s*\?([01])\s*(;.*)?")
_INTEGER = re.compile(r"\s*([0-9]{1,15})\s*(;.*)?")
_SHA256 = re.compile(r"sha-256\s*=\s*:([A-Za-z0-9+/]{43}=):")


class UploadsApi:
    def __init__(self, flows: FlowRegistry, uploads: Uploads) -> None:
        self._flows, self._uploads = flows, uploads

    async def put(self, ask: Ask) -> Reply:
        name, content = ask.path["name"], ask.content
        for _, ref in ask.query:
            await lookup.require_flow(self._flows.require(ref))
        if "Content-Range" in ask.headers:
            raise Problem("malformed-request", "an upload has no Content-Range: see Upload-Complete")
        if _number(ask.headers, "Upload-Offset"):  # the rest of a file would be taken for the whole
            raise Problem("malformed-request", "PUT has the beginning of an upload: continue it with PATCH")
        if requests.is_any(ask.if_none_match) and self._uploads.has(name):
            raise lookup.exists(f"there is an upload {name}")
        assert content is not None
        is_complete = _flag(ask.headers)
        announced = _announced(ask.headers, content.length if is_complete is not False else None, 0)
        stored = await self._uploads.receive(
            *(name, content, announced, ask.holder),
            is_kept=is_complete is not None,
            is_all=is_complete is not False,
        )
        return await self._reply(ask, stored, {} if is_complete is None else {"Upload-Complete": "?1"})

    async def patch(self, ask: Ask) -> Reply:
        name, content, is_complete = ask.path["name"], ask.content, _flag(ask.headers)
        if (ask.content_type or "").partition(";")[0].strip().lower() != _PARTIAL:
            raise Problem("unsupported-media-type", f"an upload is continued with a body of type {_PARTIAL}")
        offset = _number(ask.headers, "Upload-Offset")
        if offset is None or is_complete is None:
            raise Problem(
                "malformed-request",
                "send Upload-Offset, where the body begins in the file, and Upload-Complete: ?1 if it is the rest",
            )
        assert content is not None
        announced = _announced(ask.headers, content.length if is_complete else None, offset)
        stored = await self._uploads.resume(name, offset, content, announced, ask.holder, is_all=is_complete)
        return await self._reply(ask, stored, {"Upload-Complete": "?1"})

    async def get(self, ask: Ask) -> Reply:
        """Return how much was received; also for HEAD, by which the IETF's draft asks for the offset."""
        held = await self._uploads.held(ask.path["name"], ask.holder)
        if held is None:
            raise Problem("upload-not-found", f"there is no upload {ask.path['name']}")
        document = {
            "source_path": held.source_path,
            "complete": held.sha256 is not None,
            "bytes": held.size,
            "length": held.length,
            "sha256": held.sha256,
        }
        return Reply(200, document, self._state(held))

    async def _reply(self, ask: Ask, stored: StoredUpload | None, headers: dict[str, str]) -> Reply:
        if stored is not None:
            document = {"source_path": stored.source_path, "bytes": stored.size, "sha256": stored.sha256}
            return Reply(201, document, headers)
        held = await self._uploads.held(name := ask.path["name"], ask.holder)
        if held is None:
            raise Problem("upload-not-found", "the upload was removed in the meantime")
        place = {"Location": f"/v1/uploads/{name}"}
        return Reply(204, None, self._state(held) | place)

    def _state(self, held: HeldUpload) -> dict[str, str]:
        found = {"Upload-Offset": str(held.size), "Upload-Complete": f"?{held.sha256 is not None:d}"}
        length = {} if held.length is None else {"Upload-Length": str(held.length)}
        return found | length | self._uploads.limits


def _flag(headers: Mapping[str, str]) -> bool | None:
    """Return `Upload-Complete`; None without it, and for a value that is not a boolean, as the draft requires."""
    found = _COMPLETE.fullmatch(headers.get("Upload-Complete", ""))
    return None if found is None else found[1] == "1"


def _number(headers: Mapping[str, str], name: str) -> int | None:
    found = _INTEGER.fullmatch(headers.get(name, ""))
    return None if found is None else int(found[1])


def _announced(headers: Mapping[str, str], rest: int | None, offset: int) -> Announced:
    """Return the announced facts of a file; `rest` is the length of a body that completes it. Raises `Problem`."""
    length = _number(headers, "Upload-Length")
    if rest is not None:
        if length is not None and length != offset + rest:
            raise Problem(
                "inconsistent-upload-length",
                f"Upload-Length is {length:,}, and the body ends at {offset + rest:,}",
            )
        length = offset + rest
    digest = _SHA256.search(headers.get("Repr-Digest", ""))
    return Announced(length, base64.b64decode(digest[1]).hex() if digest else None)
