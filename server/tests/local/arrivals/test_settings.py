"""`arrivals.toml`: every mistake is named with its place, its line, and what to do."""

import pytest

from lume_local import FlowError
from lume_local._arrivals.settings import Arrival, inverted, read_arrivals, with_flow

GOOD = """
[[arrival]]
name = "acme-orders"
flow = "orders"
from = "incoming/acme/*.csv.gz"
ready = { quiet = "500ms" }
changed = "rerun"
after = { move = "done/" }

[[arrival]]
name = "marked"
flow = "orders:v3"
from = "s3://bucket/in/**/*.csv"
ready = { marker = "{path}.done" }
layout = "shop"
"""


def test_what_a_file_says() -> None:
    acme, marked = read_arrivals(GOOD)

    assert acme == Arrival("acme-orders", "orders", "incoming/acme/*.csv.gz", 0.5, None, "rerun", "done")
    assert (acme.scheme, acme.folder, acme.pattern, acme.beside("incoming/acme/x/a.csv.gz", "done")) == (
        *("", "incoming/acme", "*.csv.gz"),
        "incoming/acme/done/x/a.csv.gz",
    )
    assert (marked.scheme, marked.folder, marked.pattern) == ("s3", "s3://bucket/in", "**/*.csv")
    assert (marked.quiet, marked.changed, marked.move) == (0.0, "refuse", None), (
        "objects are there as a whole"
    )
    assert (acme.layout, marked.layout) == (None, "shop")
    assert marked.marked("a.csv") == "a.csv.done"
    assert (marked.marked_by("a.csv.done"), marked.marked_by("a.csv")) == ("a.csv", None)
    assert read_arrivals("") == ()
    assert read_arrivals('[[arrival]]\nname="a"\nflow="f"\nfrom="*.csv"')[0].quiet == 10.0


@pytest.mark.parametrize(
    ("line", "place", "said"),
    [
        ('name = "a b"', "name", "must match"),
        ("name = 1", "name", "must be a string, not 1"),
        ('flow = "orders:"', "flow", "must match"),
        ('from = "incoming/"', "from", 'write "incoming/*"'),
        ('from = "in/../*.csv"', "from", "'..'"),
        ('from = "ftp://host/*.csv"', "from", "ftp:// is not a place"),
        ('from = "s3://bucket"', "from", "names a bucket"),
        ('from = "s3://b*/x.csv"', "from", "not the URL of an object"),
        ('ready = "10s"', "ready", "must be a table"),
        ('ready = { quiet = "ten" }', "ready.quiet", '"5m"'),
        ("ready = { quiet = true }", "ready.quiet", "is not a duration"),
        ('ready = { quiet = "8d" }', "ready.quiet", "longer than a week"),
        ('ready = { marker = "done" }', "ready.marker", "{path}"),
        ('ready = { marker = "{path}" }', "ready.marker", "another file"),
        ('ready = { quiet = 1, marker = "{path}.done" }', "ready", "one of the two"),
        ('ready = { still = "1s" }', "ready.still", "not a known key"),
        ('changed = "rerum"', "changed", "did you mean 'rerun'?"),
        ('after = "move"', "after", 'must be "leave"'),
        ('after = { move = "/done" }', "after.move", "a folder below"),
        ('after = { move = "../done" }', "after.move", "a folder below"),
        ('after = { move = "done*" }', "after.move", "wildcard"),
        ('failed = "../q"', "failed", "a folder below"),
        ("failed = { move = 'q' }", "failed", "must be a string"),
        ("retry = 21", "retry", "from 0 to 20"),
        ('retry = "3"', "retry", "must be a whole number"),
        ('layout = ""', "layout", "is empty"),
        ("layout = 1", "layout", "must be a string, not 1"),
        ('form = "x"', "form", "did you mean 'from'?"),
    ],
)
def test_a_mistake_has_its_place(line: str, place: str, said: str) -> None:
    key = line.partition(" ")[0]
    lines = {"name": 'name = "a"', "flow": 'flow = "f"', "from": 'from = "*.csv"'} | {key: line}
    text = "\n".join(["[[arrival]]", *lines.values()])

    with pytest.raises(FlowError) as raised:
        read_arrivals(text)

    assert raised.value.place == f"arrival[0].{place}"
    assert said in raised.value.problem
    assert raised.value.line == text.splitlines().index(line) + 1


def test_all_mistakes_of_a_file_are_named() -> None:
    text = f'{GOOD}\n[[arrival]]\nname = "marked"\nflow = 1\nfrom = "x/"\n[[arival]]\n'

    with pytest.raises(FlowError) as raised:
        read_arrivals(text)

    mistakes = [raised.value, *raised.value.others]
    assert [one.place for one in mistakes] == ["arrival[2].flow", "arrival[2].from", "arival"]
    with pytest.raises(FlowError, match="appears twice"):
        read_arrivals(GOOD.replace("marked", "acme-orders"))
    with pytest.raises(FlowError, match="is not TOML"):
        read_arrivals("[[arrival]\n")


def test_a_template_is_inverted() -> None:
    assert inverted("in/{x}.csv", "{x}", "in/a/b.csv") == "a/b"
    assert inverted("in/{x}.csv", "{x}", "in/.csv") is None
    assert inverted("in/{x}", "{x}", "out/a") is None


def test_an_arrival_gets_another_flow_and_the_rest_of_the_file_stays() -> None:
    wanted = 'flow = "orders:v3"'
    for written in ('flow = "orders"  # all', "flow='orders'", 'flow\t=\t"orders:v1"', 'flow = "orders"\r'):
        text = GOOD.replace('flow = "orders"\n', f"{written}\n", 1) + "# [[message]] tables follow\n"
        changed = with_flow(text, "acme-orders", "orders:v3")
        assert [one.flow for one in read_arrivals(changed)] == ["orders:v3", "orders:v3"]
        (before, after), *others = (
            (old, new) for old, new in zip(text.split("\n"), changed.split("\n"), strict=True) if old != new
        )
        assert others == []
        assert after == before.replace('"orders"', '"orders:v3"').replace("'orders'", '"orders:v3"').replace(
            "orders:v1", "orders:v3"
        )
    assert wanted in with_flow(GOOD, "marked", "orders:v3"), "as it was"
    assert read_arrivals(with_flow(GOOD, "marked", "orders"))[1].flow == "orders"
    with pytest.raises(KeyError):
        with_flow(GOOD, "other", "orders")
    on_one_line = 'arrival = [{ name = "a", flow = "f", from = "*.csv" }]'
    with pytest.raises(FlowError, match='has no line of its own: write flow = "f:v2" there'):
        with_flow(on_one_line, "a", "f:v2")
