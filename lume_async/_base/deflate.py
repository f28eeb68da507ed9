"""Deflates JSON of the contract, with a preset dictionary of the text that every run has. Pure."""

import zlib

_WINDOW = -13
"""Deflate without a header and a checksum, in 8 KiB: enough for the dictionary and a run."""

DICTIONARY = (
    b'"kind":"message":"facts":{"status_code":"request_id":"body":"attempts":"retry_after":"force_rerun":true'
    b"PARTIAL_FAILED FAILED CRASHED CANCELLED"
    b'{"id":"run_","status":"SUCCEEDED","flow_version":":v1","source_path":".csv","run_metadata":null,'
    b'"force_rerun":false,"created_at":"2026-01-01T00:00:00.000000Z","started_at":"2026-01-01T00:00:00.000000Z",'
    b'"finished_at":"2026-01-01T00:00:00.000000Z","progress":1.0,"metadata":{"run":{"run_id":"run_",'
    b'"duration_seconds":0.},"stages":[{"name":"SYNCING_SOURCE","started_at":"rows":null,"duration_seconds":0.},'
    b'{"name":"TRANSFORMING"},{"name":"SYNCING_TARGET"}],"metrics":{"rows_read":0,"rows_mapped":0,'
    b'"rows_rejected":0,"reject_reasons":{},"warnings":{},"source":{"bytes":0,"lines":0,"records":0}},'
    b'"target_locations":{"mapped":"/mapped.parquet","rejects":null},"error_message":null}}'
)
"""Part of a journal's format, as only the same dictionary can inflate its entries: see `journal_file._OURS`."""


def deflated(content: bytes, context: bytes, sample: bytes = DICTIONARY) -> bytes:
    """Compress the content; `sample` and `context` are text that it is likely to repeat."""
    deflate = zlib.compressobj(wbits=_WINDOW, zdict=sample + context)
    return deflate.compress(content) + deflate.flush()


def inflated(content: bytes, context: bytes, sample: bytes = DICTIONARY) -> bytes:
    """Inflate content that was deflated with the same texts. Raises `ValueError` if it was not."""
    inflate = zlib.decompressobj(_WINDOW, zdict=sample + context)
    try:
        plain = inflate.decompress(content)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if not inflate.eof or inflate.unused_data:
        raise ValueError("it is cut off, or goes on")
    return plain
