"""JSON of the contract, deflated: small, as it may refer to what every run says. Pure."""

import zlib

_WINDOW = -13
"""Deflate without a header (what it is for is known), in 8 KiB: enough for the dictionary and a run."""

_MEMORY = 5
"""Of 9. The tables of 9 are filled with zeros for each text anew: six times the time, and a byte or two in 300."""


def deflated(content: bytes, context: bytes = b"") -> bytes:
    """The content, smaller; `context` is what it is likely to repeat."""
    deflate = zlib.compressobj(6, zlib.DEFLATED, _WINDOW, _MEMORY, zdict=DICTIONARY + context)
    return deflate.compress(content) + deflate.flush()


def inflated(content: bytes, context: bytes = b"") -> bytes:
    """What was deflated with the same context.

    Raises:
        ValueError: it was not.
    """
    inflate = zlib.decompressobj(_WINDOW, zdict=DICTIONARY + context)
    try:
        plain = inflate.decompress(content)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if not inflate.eof or inflate.unused_data:
        raise ValueError("it is cut off, or goes on")
    return plain


_TIMES = b'"%b_at":"2026-01-02T03:04:05.'
_SPAN = b'",'.join(_TIMES % name for name in (b"created", b"started", b"finished"))
_STAGE = (
    b'%b","started_at":"2026-01-02T03:04:05.000000Z","finished_at":"2026-01-02T03:04:05.000000Z",'
    b'"rows":null,"duration_seconds":0.'
)
_WHAT = b'"flow_version":":v1","source_path":".csv","run_metadata":null,"force_rerun":false,'

DICTIONARY = b"".join(
    (
        b'PARTIAL_FAILED FAILED CRASHED CANCELLED"code":"message":"field":"warnings"',
        b'{"kind":"DuplicateRunError","message":"409 Conflict: InvalidRequestError 422 Unprocessable Content: ",',
        b'"facts":{"status_code":409,"request_id":"req_","body":"{\\"type\\":\\"urn:lume:problem:already-processed',
        b'\\",\\"title\\":\\"\\",\\"status\\":409,\\"detail\\":\\"\\",\\"run_id\\":\\"run_","attempts":1,"retry_after":null,',
        b'"run_id":"run_","_of_service":true}}":true"is not a valid email address","rejects":"/rejects.parquet"},',
        b'"error_message":"{"flow_version":":v1","force_rerun":true,"run_metadata":{"","source_path":".csv"}',
        b'{"id":"run_","status":"SUCCEEDED",',
        _WHAT,
        _SPAN,
        b'","progress":1.0,"metadata":{"run":{"run_id":"run_","status":"SUCCEEDED",',
        _WHAT,
        _SPAN,
        b'","duration_seconds":0.},"stages":[{"name":"',
        b'},{"name":"'.join(
            _STAGE % name for name in (b"SYNCING_SOURCE", b"TRANSFORMING", b"SYNCING_TARGET")
        ),
        b'}],"metrics":{"rows_read":0,"rows_mapped":0,"rows_rejected":0,"reject_reasons":{},"warnings":{},',
        b'"columns":{"source":{"bytes":0,"lines":0,"records":0}},',
        b'"target_locations":{"mapped":"/mapped.parquet","rejects":null},"error_message":null}}',
    )
)
"""Part of the form of a journal, as no other one inflates what this has deflated: see `journal_file._OURS`."""
