"""What is a row of an NDJSON file, and what is not; numbers keep their value."""

import json
import random
import tempfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from depth import examples
from hypothesis import example, given
from hypothesis import strategies as st
from local.one_run import Result, execute

from lume_local._worker.engine import RunFailed


def run(folder: Path, content: str | bytes, rejects_suffix: str = ".ndjson", **changes: Any) -> Result:
    return execute(folder, content, ".parquet", rejects_suffix, source={"format": "ndjson"}, **changes)


def objects(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.rejects_file.decode("utf-8", "surrogateescape").splitlines()]


def test_numbers_within_objects_keep_their_value(tmp_path: Path) -> None:
    line = '{"o": {"price": 12345678901234567.89, "few": 1.5}}'
    columns = {name: {"sql": f"json_extract_string(o, '$.{name}')"} for name in ("price", "few")}
    assert run(tmp_path, line, columns=columns).mapped == [("12345678901234567.89", "1.5")]


NOT_STRICT = [
    *('{"v": NaN}', '{"v": nan}', '{"v": Infinity}', '{"v": -inf}', '{"v": 1,}', '{"v": [1,]}'),
    *('{"v": [1 , ]}', '{"v": {"w": NaN}}', '{"v": 01}', '{"v": .5}', '{"v": 5.}', '{"v": +1}'),
    *('{"v": "\\ud800"}', '{"v": "\t"}', '{"v": "\x01"}', '{"v": 1} {"v": 2}', '{"v": 1', "{'v': 1}"),
    *('{"v": 1}//', "[1]", "1", "null", "not json"),
]
REPEATING = [
    *('{"v": 1, "v": 2}', '{"v": 1, "v": 1}', '{"v": 1, "\\u0076": 2}', '{"v": {"a": 1, "a": 1e2}}'),
    *('{"v": [{"b": 1}, {"b": 1, "b": 1}]}', '{"v": [[{"b": 1, "b": 1}]]}', '{"v": {"{": 1, "{": 2}}'),
]


def test_what_is_not_strict_json_or_repeats_a_key_is_rejected(tmp_path: Path) -> None:
    lines = [*NOT_STRICT, *REPEATING]
    result = run(tmp_path, '{"v": 1}\n' + "\n".join(lines) + '\n{"v": 2}\n', columns={"v": {}})
    assert result.mapped == [("1",), ("2",)]
    why = ["not a JSON object"] * len(NOT_STRICT) + ["repeats a key"] * len(REPEATING)
    assert objects(result) == [
        {"_lume_line": number, "_lume_reasons": f"malformed line: {reason}", "_lume_raw": line}
        for number, (reason, line) in enumerate(zip(why, lines, strict=True), 2)
    ]


@pytest.mark.parametrize("first", ["x", '{"\\ud800": 1}', "[" * 100_000])
def test_what_is_no_object_is_rejected_after_a_first_line_that_is_none(tmp_path: Path, first: str) -> None:
    others = ['"s"', '[{"v": 5}]', "7", "null", "true", "[]"]
    result = run(tmp_path, "\n".join([first, *others, '{"v": 1}', "{}"]), columns={"v": {}})
    assert result.mapped == [("1",), (None,)]
    assert [one["_lume_raw"] for one in objects(result)] == [first, *others]


def test_only_one_bom_is_none_of_the_data(tmp_path: Path) -> None:
    result = run(tmp_path, '\ufeff\ufeff{"v": 1}\n\ufeff{"v": 2}\n{"v": 3}\n', columns={"v": {}})
    assert result.mapped == [("3",)]
    assert [one["_lume_raw"] for one in objects(result)] == ['\ufeff{"v": 1}', '\ufeff{"v": 2}']


def test_what_only_looks_doubtful_is_data(tmp_path: Path) -> None:
    texts = ["[NaN", ", ]", ": 1e5", ",}", '"_lume_', "[1.1234567", "\\u0001", "é\u2028"]
    lines = "".join(json.dumps({"v": text}, ensure_ascii=False) + "\n" for text in texts)
    result = run(tmp_path, lines, columns={"v": {}})
    assert [text for (text,) in result.mapped] == texts


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
def test_lines(tmp_path: Path, line_end: bytes) -> None:
    lines = [
        b'\xef\xbb\xbf{"v": 1}',
        b"",
        b'  {"v": 2}\t',
        b" \t",
        b'{"v": "\xff"}',
        b'{"v": "\xc3\xa9"}',
        b"x",
    ]
    lines.append(b"{}")
    result = run(tmp_path, line_end.join(lines), columns={"v": {}})
    assert result.mapped == [("1",), ("2",), ("é",), (None,)]
    raws = [
        (one["_lume_line"], one["_lume_raw"].encode("utf-8", "surrogateescape")) for one in objects(result)
    ]
    assert raws == [(5, b'{"v": "\xff"}'), (7, b"x")]
    size = (tmp_path / "source").stat().st_size
    assert result.metrics["source"] == {"bytes": size, "lines": 8, "records": 6}


def test_long_lines(tmp_path: Path) -> None:
    lines = ['{"v": "' + "x" * n + '"}' for n in (10, 2_500_000, 20, 1_999_991, 1_999_992)]
    result = run(tmp_path, "\n".join(lines), columns={"v": {}})
    assert [len(text) for (text,) in result.mapped] == [10, 20, 1_999_991]
    assert [len(one["_lume_raw"]) for one in objects(result)] == [2_500_009, 2_000_001]


@pytest.mark.thorough
def test_a_long_line_that_is_changed(tmp_path: Path) -> None:
    line = '{"v": [' + ", ".join(["1e10"] * 200_000) + '], "w": 1}'
    columns = {"first": {"sql": "json_extract_string(v, '$[0]')"}, "size": {"sql": "json_array_length(v)"}}
    result = run(tmp_path, line + "\n", columns=columns)
    assert result.mapped == [("10000000000.0", "200000")]


def test_fractions_at_the_edge_of_what_a_double_holds(tmp_path: Path) -> None:
    whole = ("0", "9", "99", "999", "1000", "999999999", "1000000000", "123456789012345")
    numbers = [
        f"{sign}{one}.{'0' * zeros}{'7' * digits}"
        for sign in ("", "-")
        for one in whole
        for zeros in (0, 2, 3, 4, 7)
        for digits in (1, 4, 5, 6, 7, 11, 12, 13)
    ]
    lines = "".join(f'{{"v": {number}}}\n' for number in numbers)
    column = {"v": {"type": "number", "sql_type": "DECIMAL(38,20)"}, "t": {"sql": "v"}}
    result = run(tmp_path, lines, columns=column)
    assert [value for value, _ in result.mapped] == [Decimal(number) for number in numbers]
    assert [Decimal(text) for _, text in result.mapped] == [Decimal(number) for number in numbers]


def test_numbers_with_exponents(tmp_path: Path) -> None:
    numbers = ["1e3", "1.5E-2", "-2e0", "1e9999", "12345678901234567e-3"]
    lines = "".join(f'{{"v": {number}}}\n' for number in numbers)
    column = {"type": "number", "sql_type": "DECIMAL(38,10)", "sql": "try_cast(v AS DECIMAL(38,10))"}
    result = run(tmp_path, lines, columns={"v": column, "t": {"sql": "v"}})
    assert [Decimal(text) for _, text in result.mapped] == [Decimal(number) for number in numbers]
    fits = [None if number == "1e9999" else Decimal(number) for number in numbers]
    assert [value for value, _ in result.mapped] == fits


def test_fractions_as_programs_write_them_stay_numbers_in_arrays(tmp_path: Path) -> None:
    chance = random.Random(7)
    numbers = [repr(chance.gauss(0, 1) * 10.0 ** chance.randint(-2, 14)) for _ in range(2000)]
    numbers = [number for number in numbers if "e" not in number]
    longer = "0.12345678901234567890"
    lines = "".join(f'{{"v": [{number}]}}\n' for number in (*numbers, longer))
    found = [value for (value,) in run(tmp_path, lines, columns={"v": {}}).mapped]
    assert found == [f"[{number}]" for number in numbers] + [f'["{longer}"]']


def test_objects_with_many_nested_members_take_little_memory(tmp_path: Path) -> None:
    inner = ", ".join(f'"m{n}": {n}' for n in range(800))
    lines = f'{{"a": {{{inner}}}, "text": "{"x" * 2000}"}}\n' * 250
    columns = {f"m{n}": {"sql": f'"a.m{n}"'} for n in range(800)}
    result = run(
        tmp_path, '{"b": 1}\n' + lines, columns=columns
    )  # the first object lacks what the flow reads
    assert result.mapped[-1] == tuple(str(n) for n in range(800))


COLUMNS = {"id": {"type": "integer"}, "v": {}}


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (['{"data": [{"id": 1, "v": "a"}]}'], "no object of the source has 'id', which .* Found: 'data'"),
        (['{"id": 1, "V": "a"}'], "no object of the source has 'v', which .* Did you mean 'V'"),
        (
            ['{"ID": 1}', '{"v": 1}'],
            r"has 'id', which people:v1 reads \(columns\.id\)\. Found: 'ID', 'v'\.",
        ),
        (['{"_lume_row": 1, "x": 1}'], "no object of the source has 'id'"),
    ],
)
def test_a_mistake_in_a_name_gives_no_rows_of_nulls(tmp_path: Path, lines: list[str], words: str) -> None:
    with pytest.raises(RunFailed, match=words):
        run(tmp_path, "\n".join(lines), columns=COLUMNS)


@pytest.mark.parametrize(
    ("lines", "warnings"),
    [
        (['{"v": 1}', '{"id": 1}'], {}),
        (['{"id": 1}', '{"id": 2, "other": 3}'], {"no row has 'v'": 1}),
        (['{"id": 1}', '{"id": 2, "id": 3, "v": "in no row"}'], {"no row has 'v'": 1}),
        (["{}", " "], {}),
        ([], {"the source has no rows": 1}),
    ],
)
def test_a_member_that_no_row_has_is_told(tmp_path: Path, lines: list[str], warnings: Any) -> None:
    assert run(tmp_path, "\n".join(lines), columns=COLUMNS).metrics["warnings"] == warnings


def written(pairs: list[tuple[str, str]]) -> str:
    return "{" + ", ".join(f"{json.dumps(key, ensure_ascii=False)}: {value}" for key, value in pairs) + "}"


KEYS = st.sampled_from(["a", "b", "", "é", "{", "}", "*", "[*]", ".", "$", "\\", '"', "'", "a.b", "\x7f"])


def nested(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]") | st.lists(
        st.tuples(KEYS, inner), min_size=1, max_size=3
    ).map(written)


SCALARS = st.sampled_from(["1", '"x"', "null", "{}", "[]", '"{"', "true"])
VALUES = st.recursive(SCALARS, nested, max_leaves=8)


def repeats(line: str) -> bool:
    found = []

    def look(pairs: list[tuple[str, Any]]) -> None:
        found.append(len({key for key, _ in pairs}) < len(pairs))

    json.loads(line, object_pairs_hook=look)
    return any(found)


@examples(60)
@given(st.lists(VALUES, min_size=1, max_size=3), st.lists(st.integers(0, 2), min_size=1, max_size=6))
@example(values=["{}", '[{"a": 1, "a": 1}]'], order=[0, 1])
@example(values=["[{}]", '[[{"a": 1, "a": 1}]]'], order=[0, 1])
def test_random_objects(values: list[str], order: list[int]) -> None:
    """The same few lines in a random order: most have the shape of the first one, or nearly so."""
    lines = [f'{{"id": {n}, "o": {values[pick % len(values)]}}}' for n, pick in enumerate(order)]
    lines.append('{"id": 99}')  # not all are rejects
    with tempfile.TemporaryDirectory() as folder:
        result = run(Path(folder), "\n".join(lines), columns={"id": {"type": "integer"}})
        refused = [one["_lume_raw"] for one in objects(result)] if result.rejects_file else []
    assert refused == [line for line in lines if repeats(line)]
    kept = [json.loads(line)["id"] for line in lines if not repeats(line)]
    assert [row[0] for row in result.mapped] == kept
