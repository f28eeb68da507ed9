"""What messages say: word by word, bounded, and without values."""

from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from local.servers import serve

from lume_local._messages.limit import Digest, Happened
from lume_local._messages.text import LONGEST, LONGEST_TITLE, Texts
from lume_local._runs.deliveries.notices import Notice, refusal_notice, without_values

TEXTS = Texts("https://lume.example.com")
AT = "2026-01-02T03:04:05.600000Z"
RUN = Notice("FAILED", "orders", "orders:v3", AT, "run_1", "in/acme.csv", read=240, rejected=12)


def said(happened: Happened, *, with_values: bool = False) -> tuple[str, list[str], str]:
    found = orjson.loads(TEXTS.single(happened, with_values=with_values))
    return found["title"], found["text"].splitlines(), found["type"]


def test_an_unusual_run() -> None:
    notice = Notice(
        **{
            **vars_of(RUN),
            "kind": "SUCCEEDED",
            "rejected": 0,
            "unusual": ["warn.unusual: 240 rows were read"],
        }
    )
    assert said(Happened(notice, ("warn.unusual",), False)) == (
        "orders: a run is unusual",
        [
            "orders:v3 on in/acme.csv",
            "SUCCEEDED at 2026-01-02 03:04:05 UTC: 240 rows read, 0 rejected",
            "warn.unusual: 240 rows were read",
            "https://lume.example.com/#/runs/run_1",
        ],
        "warning",
    )


def test_rejected_rows() -> None:
    notice = Notice(
        **{**vars_of(RUN), "kind": "PARTIAL_FAILED", "reasons": {"email: is not an email address": 12}}
    )
    title, lines, kind = said(Happened(notice, ("PARTIAL_FAILED",), False))
    assert (title, kind) == ("orders: 12 of 240 rows rejected (5.0%)", "warning")
    assert lines[1:4] == [
        "PARTIAL_FAILED at 2026-01-02 03:04:05 UTC: 240 rows read, 12 rejected",
        "Rejected rows:",
        "  12 x email: is not an email address",
    ]
    notice = Notice(**{**vars_of(RUN), "kind": "SUCCEEDED", "rejected": 0})
    title, _, kind = said(Happened(notice, ("recovered",), False))
    assert (title, kind) == ("orders is fine again", "success")


def vars_of(notice: Notice) -> dict[str, object]:
    return {name: getattr(notice, name) for name in Notice.__annotations__}


def test_a_refused_file() -> None:
    notice = Notice(
        "arrival.refused",
        "orders",
        "orders:v3",
        AT,
        place="s3://b/x.csv",
        arrival="acme",
        error="it has changed",
    )
    assert said(Happened(notice, ("arrival.refused",), False)) == (
        "orders: a file was refused",
        [
            "s3://b/x.csv, of the arrival acme for orders:v3",
            "Refused at 2026-01-02 03:04:05 UTC",
            "Reason: it has changed",
            "https://lume.example.com/#/arrivals?name=acme&state=refused",
        ],
        "failure",
    )


def test_a_digest_of_everything() -> None:
    digest = Digest(
        counts={
            "FAILED": {"orders": 36, "people": 1},
            "PARTIAL_FAILED": {"orders": 1},
            "SUCCEEDED": {"notes": 2},
            "arrival.refused": {"orders": 3},
            "warn.unusual": {"people": 1},
        },
        why={"the source has no header": 30, "no such host": 7},
        reasons={f"reason {n}": n for n in range(1, 8)},
        read=1000,
        rejected=50,
        fine=["notes"],
        first=AT,
        last="2026-01-02T03:14:05.600000Z",
        run_id="run_9",
    )
    found = orjson.loads(TEXTS.digest(digest))
    assert found["title"].startswith(
        "45 things happened: 37 runs failed (orders 36, people 1), 1 run of orders"
    )
    assert found["text"].splitlines() == [
        "37 runs failed (orders 36, people 1)",
        "1 run of orders rejected rows",
        "2 runs of notes succeeded",
        "3 files of orders were refused",
        "1 run of people was unusual",
        "notes is fine again",
        "1,000 rows read, 50 rejected",
        "Reasons:",
        "  30 x the source has no header",
        "  7 x no such host",
        "Rejected rows:",
        *(f"  {n} x reason {n}" for n in (7, 6, 5, 4, 3)),
        "  3 x others",
        "From 2026-01-02 03:04:05 UTC to 2026-01-02 03:14:05 UTC",
        "https://lume.example.com/#/runs",
    ]


def test_a_digest_of_one_flow() -> None:
    digest = Digest(
        counts={"FAILED": {"orders": 37}}, why={"no such host": 37}, first=AT, last=AT, run_id="run_9"
    )
    found = orjson.loads(TEXTS.digest(digest))
    assert (found["title"], found["type"]) == ("37 runs of orders failed", "failure")
    assert found["text"].splitlines()[-1] == "https://lume.example.com/#/runs?flow=orders&status=FAILED"


@pytest.mark.parametrize("values", [False, True])
def test_what_is_quoted_makes_no_lines(values: bool) -> None:
    """A name of a file could look like another message."""
    place = "in/a.csv\nAll is well\nhttps://elsewhere.example.com"
    notice = Notice("FAILED", "a\nb", "a\nb:v1", AT, "run_1", place, 5, 5, {"one\ntwo": 5}, "x\ny")
    happened = Happened(notice, ("FAILED",), True)
    title, lines, _ = said(happened, with_values=values)
    assert title == r"a\nb: a run failed"
    assert lines[0] == rf"a\nb:v1 on {place.replace(chr(10), chr(92) + 'n')}"
    assert len(lines) == 6
    found = orjson.loads(TEXTS.digest(Digest().with_one(happened, with_values=values)))
    assert len(found["text"].splitlines()) == 8
    assert "\n" not in found["title"]


ANY = st.text(max_size=3000)


@given(ANY, ANY, st.dictionaries(ANY, st.integers(0, 10**18), max_size=30), ANY, st.lists(ANY, max_size=2))
def test_texts_are_bounded(
    flow: str, place: str, reasons: dict[str, int], error: str, odd: list[str]
) -> None:
    notice = Notice("FAILED", flow, f"{flow}:v1", AT, "run_1", place, 5, 5, reasons, error, odd)
    happened = Happened(notice, ("FAILED", "warn.unusual"), True)
    for values in (False, True):
        gathered = Digest()
        for _ in range(3):
            gathered = gathered.with_one(happened, with_values=values)
        for body in (TEXTS.single(happened, with_values=values), TEXTS.digest(gathered)):
            found = orjson.loads(body)
            assert len(found["title"]) <= LONGEST_TITLE
            assert len(found["text"]) <= LONGEST
            assert not set(found["title"]) & {"\r", "\n", "\0"}, "it is a header of a mail"
            assert found["text"].rpartition("\n")[2].startswith("https://lume.example.com/#/runs")


@pytest.mark.parametrize(
    ("message", "left"),
    [
        (
            "x.csv has no column 'Id', which a:v1 reads (columns.id.sql). Found: 'Smith'",
            "x.csv has no column …",
        ),
        (
            "12 of 40 rows were rejected, more than rejects.max_ratio = 0.1 allows: a (1)",
            "… of … rows were rejected, more than rejects.max_ratio = … allows",
        ),
        (
            "x.csv begins with the byte order mark of UTF-16, but a:v1 reads utf-8: save it",
            "x.csv begins with the byte order mark of UTF-16, but a:v1 reads utf-8",
        ),
        (
            'duplicate key value violates "people_pkey"\nDETAIL:  Key (id)=(5) exists',
            "duplicate key value violates …",
        ),
        ("Type INT64 with value 300 can't be cast", "Type INT64 with value … can't be cast"),
        ("could not convert 'O'Neil' to a date", "could not convert … to a date"),
        ("it's not 'a' or 'b', but 'c' d' e", "it's not … e"),
        ("could not read 'Smith and so on … (900 characters) … the end", "could not read …"),
        (
            "the run took longer than its time limit of 86400 s; nothing was written",
            "the run took longer than its time limit of … s",
        ),
        ("", ""),
    ],
)
def test_errors_without_values(message: str, left: str) -> None:
    assert without_values(message) == left


FLOW = """
flow = "orders"
version = "v1"
[columns.id]
sql = '"Id"'
type = "integer"
required = true
[columns.day]
sql = '"Day"'
format = "date"
[[rules]]
name = "small"
sql = "id < 500"
on_fail = "fail"
[target]
rejects = "out/rejects.csv"
"""
CANARY = "Canary77"
SOURCES = {
    "no_header.csv": f"{CANARY},1980\n{CANARY},3\n",
    "all_bad.csv": f"Id,Day\n{CANARY},2020-01-01\n",
    "some_bad.csv": f"Id,Day\n1,{CANARY}\n2,2020-01-01\n",
    "broken_rule.csv": "Id,Day\n98765,2020-01-01\n",
    "quotes.csv": f'Id,Day\n"{CANARY}',
    "twice.csv": f"Id,Id,Day\n{CANARY},1,2\n",
    "binary.csv": f"\x00\x01{CANARY}",
    "empty.csv": "",
    "wide.csv": f"Id,Day\n1,2,{CANARY}\n",
    "record.json": f'{{"Id": "{CANARY}"',
}


@pytest.fixture
def notices(home: Path, monkeypatch: pytest.MonkeyPatch) -> list[Notice]:
    """The notices of a server with these messages, as it reads them."""
    monkeypatch.setenv("OPS_URL", "json://127.0.0.1:9/")
    (home / "messages.toml").write_text(
        '[[message]]\non = ["SUCCEEDED"]\nflows = ["none"]\nto_env = ["OPS_URL"]\n'
    )
    found: list[Notice] = []
    of = Notice.of

    def kept(body: bytes) -> Notice:
        found.append(of(body))
        return found[-1]

    monkeypatch.setattr(Notice, "of", kept)
    return found


async def test_no_value_of_a_source_gets_into_a_message(home: Path, notices: list[Notice]) -> None:
    """Whatever is wrong with a file; the notices have the errors as they are."""
    (home / "flows/orders.v1.toml").write_text(FLOW)
    async with serve(home, messages=home / "messages.toml") as wire:
        for name, text in SOURCES.items():
            (home / name).write_text(text)
            await wire.run("orders:v1", name)
        while len(notices) < len(SOURCES):
            await wire.ask("GET", "/healthz")
    assert any(CANARY in str(one.error) for one in notices), "errors do quote values"
    gathered = Digest()
    for notice in notices:
        happened = Happened(notice, (notice.kind,), True)
        gathered = gathered.with_one(happened, with_values=False)
        assert CANARY not in TEXTS.single(happened, with_values=False).decode()
        assert "98765" not in TEXTS.single(happened, with_values=False).decode()
        if CANARY in str(notice.error):
            assert CANARY in TEXTS.single(happened, with_values=True).decode()
    assert CANARY not in TEXTS.digest(gathered).decode()


REMEDY = "Fix the header or the flow (in a new flow version if this one is registered), then run it again"


@pytest.mark.parametrize("first", [CANARY, f"{CANARY}' or it", f"Ids{CANARY}", "idd", "…", "it's"])
async def test_a_missing_column_is_named_with_the_remedy(
    home: Path, notices: list[Notice], first: str
) -> None:
    """Not what the first line has in its place, as that is data if there is no header; a run says both."""
    flow = FLOW.replace("sql = '\"Id\"'", 'from = ["Id", "Number"]')
    (home / "flows/orders.v1.toml").write_text(flow)
    (home / "in").mkdir()
    (home / "in/a.csv").write_text(f"{first},{CANARY} 2,Day\n1,2,2020-01-01\n")
    async with serve(home, messages=home / "messages.toml") as wire:
        run = await wire.run("orders:v1", "in/a.csv")
        while not notices:
            await wire.ask("GET", "/healthz")
    assert CANARY in run["metadata"]["error_message"]
    _, lines, _ = said(Happened(notices[0], ("FAILED",), True))
    says = "the source has no column 'id' (or 'Id', 'Number'), which orders:v1 reads (columns.id.from)"
    assert lines[2] == f"Reason: {says}. {REMEDY}"


def test_the_notice_of_a_refused_file() -> None:
    notice = Notice.of(refusal_notice("acme", "orders:v3", "in/x.csv", "it has changed since"))
    assert (notice.kind, notice.flow, notice.flow_version) == ("arrival.refused", "orders", "orders:v3")
    assert (notice.arrival, notice.place, notice.error) == ("acme", "in/x.csv", "it has changed since")
