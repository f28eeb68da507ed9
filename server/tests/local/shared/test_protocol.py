"""The worker protocol: what goes in at one end comes out at the other, and nothing else comes out."""

import pytest

from lume_local._shared.protocol import (
    AsksToCommit,
    Cancel,
    Cancelled,
    Check,
    Checked,
    Done,
    Event,
    Execute,
    Failed,
    Finish,
    Job,
    Permit,
    Progressed,
    ProtocolError,
    Ready,
    Refused,
    StageBegun,
    decode_event,
    decode_job,
    encode,
)

FLOW = {"columns": [{"name": "a", "nested": {"b": [1, None, 2.5, "é"]}}]}
PLACE = {"kind": "file", "path": "/a"}


@pytest.mark.parametrize(
    "job",
    [
        Check(FLOW),
        Cancel(),
        Permit(False),
        Finish("/f"),
        Execute("run_1", FLOW, PLACE, "/f", PLACE, PLACE, 10**9, 2),
    ],
)
def test_jobs(job: Job) -> None:
    line = encode(job)
    assert line.endswith(b"\n")
    assert decode_job(line) == job


@pytest.mark.parametrize(
    "event",
    [
        *(Ready(70_000_000), Checked(FLOW), Refused("columns.a.sql", "is empty")),
        *(
            StageBegun("TRANSFORMING", None, 0.02),
            StageBegun("SYNCING_TARGET", 3, 0.82),
            Progressed(0.5),
            AsksToCommit(),
        ),
        *(Done({"steps": [PLACE]}), Failed("no", None), Failed("no", {"rows_read": 1}), Cancelled()),
    ],
)
def test_events(event: Event) -> None:
    line = encode(event)
    assert line.endswith(b"\n")
    assert decode_event(line) == event


@pytest.mark.parametrize(
    "line",
    [
        *(b"", b"hello", b"[]", b'"ready"', b"{}", b'{"event": "dance"}', b'{"event": ["ready"]}'),
        *(b'{"event": "ready"}', b'{"event": "ready", "resident": null}', b'{"event": "done", "record": []}'),
    ],
)
def test_lines_that_are_not_of_the_protocol(line: bytes) -> None:
    with pytest.raises(ProtocolError, match="is not of the worker protocol"):
        decode_event(line)
    with pytest.raises(ProtocolError):
        decode_job(line)
