"""Samples as layouts: which share one, which is read already, and what tells them apart."""

from pathlib import Path
from typing import Any

import pytest
from local.flows import people
from local.mapping.proposals import chosen, proposed

from lume_local._flow.definition import read_definition
from lume_local._flow.same_reading import includes
from lume_local._mapping.flow_text import with_layouts
from lume_local._mapping.target import MappingTarget, of_flow, of_schema
from lume_local._shared.protocol import Propose, Proposed, Refused
from lume_local._worker.samples.proposing import make_proposal

Json = dict[str, Any]

SCHEMA: Json = {
    "title": "orders",
    "properties": {
        "id": {"type": "integer"},
        "day": {"type": "string", "format": "date"},
        "amount": {"type": "number"},
        "size": {"type": "string", "enum": ["S", "M", "L"]},
    },
}
OPEN, DECIDED = "03/04/2024,04/05/2024", "23/04/2024,04/05/2024"


def target() -> MappingTarget:
    return of_schema(SCHEMA, "orders", "v1", "the schema")


def write(folder: Path, name: str, text: str) -> Path:
    (path := folder / name).parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def dated(folder: Path, name: str, days: str, header: str = "id,day") -> Path:
    rows = (f"{n},{day}\n" for n, day in enumerate(days.split(",")))
    return write(folder, name, f"{header}\n{''.join(rows)}")


def layouts(found: Json) -> dict[str, list[str]]:
    return {one["name"]: one["samples"] for one in found["layouts"]}


def test_a_sample_that_decides_nothing_joins_one_that_does(tmp_path: Path) -> None:
    samples = dated(tmp_path, "a.csv", OPEN), dated(tmp_path, "b.csv", DECIDED, "ID,Day")
    found = proposed(target(), *samples)
    assert layouts(found) == {"": ["a.csv", "b.csv"]}
    day = chosen(found)["day"]
    assert (day["sql"], day["doubts"]) == ("parse_date_any(value, 'dmy')", [])
    assert found["definition"]["columns"]["day"]["from"] == list(dict.fromkeys(day["sources"]))


def test_samples_with_one_header_and_two_meanings_need_a_pattern(tmp_path: Path) -> None:
    samples = dated(tmp_path, "eu_01.csv", DECIDED), dated(tmp_path, "us_01.csv", "04/23/2024,04/05/2024")
    found = proposed(target(), *samples)
    assert layouts(found) == {"eu": ["eu_01.csv"], "us": ["us_01.csv"]}
    written = found["definition"]["layouts"]
    assert [one.get("match") for one in written.values()] == [None, "**/us_*.csv"]
    assert written["us"]["columns"]["day"] == "parse_date_any(\"day\", 'mdy')"
    assert found["layouts"][1]["doubts"] == [
        "names do not identify its files, so it reads those whose path matches **/us_*.csv: check that"
    ]
    assert "# Decide: names do not identify its files" in found["toml"]


def test_names_below_a_title_are_told_apart_by_their_line(tmp_path: Path) -> None:
    """Paths say nothing about them; lines that differ leave only paths, and the way out is said."""
    layout: Json = {"columns": {"id": '"nr"', "day": '"when"'}}
    contract: Json = {"id": {"type": "integer"}, "day": {}}
    base = of_flow(read_definition(people(columns=contract, layouts={"shop": layout})))
    rows = "nr,when\n1,x\n2,y\n3,z\n"
    samples = [write(tmp_path, name, f"Report\n\n{rows}") for name in ("bad1.csv", "bad2.csv")]
    found = proposed(base, *samples)["definition"]["layouts"]["bad"]
    assert (found.get("match"), found["source"]["header"]) == (None, {"row": 3})
    further = proposed(base, *samples, write(tmp_path, "worse.csv", f"Report\n{rows}"))
    written = further["definition"]["layouts"]["bad"]
    assert (written["match"], "contains" in written["source"]["header"]) == (
        ["**/bad*.csv", "**/worse.csv"],
        True,
    )
    assert 'check that, or write header = "find" in the layout' in further["layouts"][0]["doubts"][-1]


def test_lookups_of_one_layout_are_joined(tmp_path: Path) -> None:
    one = write(tmp_path, "a.csv", "id,size\n1,Small\n2,Medium\n")
    other = write(tmp_path, "b.csv", "id,size\n1,Large\n2,Small\n")
    third = write(tmp_path, "c.csv", "id;size\n1;Large\n")
    found = proposed(target(), one, other, third)
    assert layouts(found) == {"a": ["a.csv", "b.csv"], "c": ["c.csv"]}
    seed = found["seeds"]["seeds/orders_a_size.csv"].splitlines()[1:]
    assert [line.split(",")[:2] for line in seed] == [["Small", "S"], ["Medium", "M"], ["Large", "L"]]
    assert "seeds/orders_c_size.csv" in found["seeds"]


def test_a_new_layout_does_not_take_the_files_of_another(tmp_path: Path) -> None:
    """As it would where it reads more of the names in them."""
    columns: Json = {**SCHEMA["properties"], **{name: {"sql": "NULL"} for name in ("day", "amount", "size")}}
    base = of_flow(read_definition(people(columns=columns)))
    known = write(tmp_path, "a.csv", "id,day,amount\n1,2024-01-31,2.5\n")
    new = write(tmp_path, "b.csv", "day,amount\n2024-01-31,2.5\n")
    found = proposed(base, known, new)
    assert layouts(found) == {"v1": ["a.csv"], "b": ["b.csv"]}
    assert found["definition"]["layouts"]["b"]["match"] == "**/b.csv"
    assert "match" not in found["definition"]["layouts"]["v1"]


def test_names_that_differ_only_in_spelling_are_layouts_of_their_own(tmp_path: Path) -> None:
    base = of_flow(read_definition(people(columns={"nr": {"type": "integer"}})))
    found = proposed(base, write(tmp_path, "a.csv", "Nr.,x\n1,2\n"))
    assert found["definition"]["layouts"] == {
        "v1": {"columns": {"nr": '"nr"'}},
        "a": {
            "source": {"format": "csv", "csv": {"delim": ",", "encoding": "utf-8"}},
            "columns": {"nr": '"Nr."'},
        },
    }


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["Müller 2024-05.csv", "x/müller_06.csv"], ["muller", "muller_2"]),
        (["2024.csv", "___.csv"], ["2024", "layout"]),
    ],
)
def test_layouts_are_called_like_samples(tmp_path: Path, names: list[str], expected: list[str]) -> None:
    texts = ("id,amount\n1,2\n", "id;amount\n1;2\n")
    samples = [write(tmp_path, name, text) for name, text in zip(names, texts, strict=True)]
    assert [one["name"] for one in proposed(target(), *samples)["layouts"]] == expected


def test_a_version_without_names_in_its_files_gets_a_pattern(tmp_path: Path) -> None:
    source = {"header": "none", "names": ["nr"]}
    base = of_flow(read_definition(people(columns={"nr": {"type": "integer"}}, source=source)))
    found = proposed(base, write(tmp_path, "a.csv", "number,x\n1,2\n"))
    assert found["definition"]["layouts"]["v1"] == {
        "match": "v1/*",
        "source": source,
        "columns": {"nr": '"nr"'},
    }
    assert found["doubts"][0].startswith("v1 reads files without names in them: correct its match")


def test_what_a_version_reads_is_the_same_as_a_layout() -> None:
    columns: Json = {
        "email": {"from": ["E-Mail", "EMAIL"], "sql": "lower(value)", "format": "email"},
        "first": {"from": {"first": ["a", "b"]}},
        "plain": {"type": "integer"},
        "both": {"sql": '"a" || "plain"'},
        "kind": {"sql": "'x'"},
        "none": {"sql": "NULL"},
    }
    source = {"uri": "in/*", "null": ["-"], "csv": {"delim": ";"}}
    before = people(columns=columns, source=source)
    found = with_layouts(before)
    assert found["source"] == {"uri": "in/*", "null": ["-"]}
    assert found["columns"]["kind"] == {"sql": "'x'"}, "a constant is one of any file"
    flow, was = read_definition(found), read_definition(before)
    (layout,) = flow.layouts
    for column, one in zip(layout.columns, was.columns, strict=True):
        # A name that is compared loosely is not repeated.
        assert column._replace(aliases=None) == one._replace(aliases=None)
        assert (column.aliases is None) == (one.aliases is None)
    assert layout.columns[0].aliases is not None
    assert layout.columns[0].aliases.names == ("E-Mail", "EMAIL")
    assert layout.source == was.source
    assert with_layouts(found) is found


@pytest.mark.parametrize("form", ["csv", "ndjson", "xml"])
@pytest.mark.parametrize("names", [["E-Mail", "EMAIL"], {"first": ["E-Mail", "mail"]}, {"first": ["a", "b"]}])
def test_a_version_with_layouts_shares_the_sources_of_the_one_before(form: str, names: Any) -> None:
    """Objects with the column's own name are read again, and it is the last choice of several."""
    source = {"format": form} | ({"xml": {"records": "a/b"}} if form == "xml" else {})
    before = people(columns={"email": {"from": names}}, source=source)
    after = with_layouts(before) | {"version": "v2"}
    assert includes(read_definition(after), read_definition(before))


def test_a_query_has_no_layouts(tmp_path: Path) -> None:
    source = {"format": "sql", "url_env": "A", "query": "SELECT 1 AS nr"}
    base = of_flow(read_definition(people(columns={"nr": {"type": "integer"}}, source=source)))
    path = write(tmp_path, "a.csv", "nr\n1\n")
    answer = make_proposal(Propose(base.to_json(), [{"path": str(path), "shown": "a.csv"}]))
    assert isinstance(answer, Refused)
    assert (answer.place, "reads a query" in answer.problem) == ("target", True)


@pytest.mark.parametrize(
    ("layout", "words"),
    [("two", "the samples have 2 layouts"), ("v1", "has a layout 'v1' already")],
)
def test_a_name_is_for_one_new_layout(tmp_path: Path, layout: str, words: str) -> None:
    base = of_flow(read_definition(people(columns={"nr": {"type": "integer"}})))
    paths = [write(tmp_path, "a.csv", "Nr.,x\n1,2\n"), write(tmp_path, "b.csv", "Nr.;x\n1;2\n")]
    given = [{"path": str(one), "shown": one.name} for one in paths[: 2 if layout == "two" else 1]]
    answer = make_proposal(Propose(base.to_json(), given, layout=layout))
    assert isinstance(answer, Refused)
    assert (answer.place, words in answer.problem) == ("layout", True), answer


@pytest.mark.parametrize(
    ("header", "delim", "is_lost"),
    [("id,day,amount,note", ",", True), ("id,day", ",", False), ("id,day,amount", ";", False)],
)
def test_a_layout_that_loses_its_latest_files_is_named(
    tmp_path: Path, header: str, delim: str, is_lost: bool
) -> None:
    columns: Json = {**SCHEMA["properties"], **{name: {"sql": "NULL"} for name in ("day", "amount", "size")}}
    base = of_flow(read_definition(people(columns=columns)))
    path = write(tmp_path, "b.csv", f"day{delim}amount\n2024-01-31{delim}2.5\n")
    answer = make_proposal(
        Propose(base.to_json(), [{"path": str(path), "shown": "b.csv"}], headers={"": header.split(",")})
    )
    assert isinstance(answer, Proposed)
    doubts = [
        one for one in answer.proposal["doubts"] if one.startswith("b would also read the latest files of v1")
    ]
    assert bool(doubts) == is_lost


def test_a_pattern_matches_no_other_sample(tmp_path: Path) -> None:
    one, other = dated(tmp_path, "in/a.csv", DECIDED), dated(tmp_path, "in/b.csv", "04/23/2024,04/05/2024")
    given = [{"path": str(path), "shown": f"in/{path.name}"} for path in (one, other)]
    answer = make_proposal(Propose(target().to_json(), given))
    assert isinstance(answer, Proposed)
    assert answer.proposal["layouts"][1]["match"] == ["**/b.csv"], "in/* are the files of both"
    given[1]["below"] = "us/b.csv"
    answer = make_proposal(Propose(target().to_json(), given))
    assert isinstance(answer, Proposed)
    assert answer.proposal["layouts"][1]["match"] == ["**/us/*"]


@pytest.mark.parametrize("choices", [{}, {"kind": None}])
def test_a_constant_is_that_of_a_new_layout_too(tmp_path: Path, choices: Json) -> None:
    columns: Json = {"nr": {"type": "integer"}, "kind": {"sql": "'x'"}}
    path = write(tmp_path, "a.csv", "Number;art\n1;2\n")
    found = proposed(of_flow(read_definition(people(columns=columns))), path, choices=choices)
    assert found["definition"]["columns"]["kind"] == {"sql": "'x'"}
    read = found["definition"]["layouts"]["a"]["columns"]
    assert read.get("kind") == ("NULL" if choices else None)
    assert choices or "# kind = \"'x'\"" in found["toml"]


@pytest.mark.parametrize(("is_layout", "choices"), [(False, {"day": {"reading": "mdy"}}), (True, {})])
def test_a_layout_gains_lookups_and_keeps_its_names(tmp_path: Path, is_layout: bool, choices: Json) -> None:
    columns: Json = {
        "day": {"from": ["Day", "Tag"], "sql": "parse_date_any(value, 'dmy')", "format": "date"},
        "size": {"from": {"first": ["Size", "Talla"]}, "enum": ["S", "M", "L"]},
    }
    before = people(columns=columns)
    base = of_flow(read_definition(with_layouts(before) if is_layout else before))
    found = proposed(
        base, write(tmp_path, "a.csv", "Tag,Talla\n03/04/2024,Small\n"), inline=True, choices=choices
    )
    assert [one["is_new"] for one in found["layouts"]] == [False]
    written = found["definition"]["layouts"]["v1"]["columns"] if is_layout else found["definition"]["columns"]
    assert written["day"]["from"] == ["Day", "Tag"]
    assert written["day"]["sql"] == f"parse_date_any(value, '{'mdy' if choices else 'dmy'}')"
    assert {"Size", "Talla"} <= {*written["size"]["from"]["first"]}
    assert written["size"]["sql"].startswith("CASE trim(value) WHEN 'Small' THEN 'S'")


@pytest.mark.parametrize(
    ("ways", "expected", "grade"),
    [
        (["value"], None, "certain"),
        (["lower(value)"], "lower(value)", "certain"),
        (["parse_phone(value)", "value"], None, "certain"),
        (["parse_phone(value)", "upper(value)"], "parse_phone(value)", "certain"),
        (["lower(value)", "upper(value)"], "parse_phone(value)", "medium"),
        (["NULL"], "parse_phone(value)", "certain"),
    ],
)
def test_a_new_layout_gives_the_values_of_the_others(
    tmp_path: Path, ways: list[str], expected: str | None, grade: str
) -> None:
    """A cleaner that the flow does not need would give the same phone another form."""
    read = {
        f"l{n}": {"columns": {"id": f'"k{n}"', "phone": way.replace("value", f'"p{n}"')}}
        for n, way in enumerate(ways)
    }
    columns: Json = {"id": {"type": "integer"}, "phone": {"type": "string"}}
    base = of_flow(read_definition(people(columns=columns, layouts=read)))
    found = proposed(base, write(tmp_path, "odd.csv", "id,phone\n1,+49 30 100000\n2,+49 30 100001\n"))
    phone = chosen(found)["phone"]
    assert (phone["sql"], phone["grade"]) == (expected, grade)
    assert any("may be written differently" in one for one in phone["evidence"]) == (grade == "medium")


@pytest.mark.parametrize("name", ["known.csv", "odd.csv"])
def test_a_cleaner_is_for_what_the_flow_could_not_read(tmp_path: Path, name: str) -> None:
    phone = {"from": ["Tel"], "type": "string", "pattern": r"^\+[0-9]+$"}
    columns: Json = {"id": {"type": "integer", "from": ["nr"]}, "phone": phone}
    base = of_flow(read_definition(people(columns=columns)))
    known = "+4930100000" if name == "known.csv" else "+49 30 100000"
    found = proposed(base, write(tmp_path, name, f"id,phone\n1,{known}\n"))
    assert chosen(found)["phone"]["sql"] == (None if name == "known.csv" else "parse_phone(value)")
