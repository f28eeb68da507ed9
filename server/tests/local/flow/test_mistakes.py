"""The line of a place in a flow file."""

from lume_local._flow.mistakes import line_of


def test_lines_of_places() -> None:
    lines = [
        "[columns.a]",
        'type = "x"',
        "",
        "[[rules]]",
        'name = "r"',
        "[[rules]]",
        'sql = "s"',
        "[source]",
        "csv = {}",
    ]
    text = "\n".join(lines)
    assert line_of("columns.a.type", text) == 2
    assert line_of("columns.a.sql", text) == 1
    assert line_of("rules[1].sql", text) == 7
    assert line_of("rules[1].name", text) == 6
    assert line_of("source.csv.delim", text) == 9
    assert line_of("nowhere", text) is None
    assert line_of("columns", text) == 1
    assert line_of("layouts.b", "[layouts.bb.source]\n[layouts.b.source]\n[layouts.b.columns]\n") == 2
