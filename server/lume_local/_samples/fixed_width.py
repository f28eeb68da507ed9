"""Finds the columns of a text of fixed width, by the blanks that its lines have at the same places. A guess."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

from attrs import define, frozen

from lume_async._base.elided import elided
from lume_async._base.words import counted, listed
from lume_local._samples.infer import is_typed
from lume_local._samples.table_start import TOTAL, Start

_FEWEST, _MANY = 2, 8
"""Rows that a text must have; number from which blanks at the same places are no coincidence."""
_ALIKE = 0.9
"""Share of lines that must be of one length, or have several blanks in a row."""
_FIRST, _SOME = 200, 1000
"""Lines by which the header is found; rows, from all over the text, whose values are compared."""
_FEWEST_MARKS, _LONGEST_COMMENT = 3, 10
"""Marks that make a rule; characters of `source.comment`."""
_MOST = 0.95
"""Share of values of a right-aligned column that end where it ends."""
_HEADS, _TAIL = 20, 5
"""Lines among which the header is searched for; lines at the end that may not be rows."""
_RULE = re.compile(r" *([-=_~*])\1*(?: +\1+)* *")
_COUNT = re.compile(r"\(?\d+ (?:rows?|records?|lines?|zeilen?|datens[aä]tze?)\b.*", re.IGNORECASE)
"""What programs write below their rows."""
_CELL = re.compile(r"\S+(?: \S+)*")
_NOT_BLANK = re.compile("[^ ]")
_IS_FILLED = bytes(letter != ord(" ") for letter in range(256))
Run = tuple[int, int]
Column = tuple[str, Run]
"""A name; the first character, and the one after the last."""


@frozen
class FixedColumns:
    """Columns by their first and last characters, counted from 1.

    Attributes:
        table: the settings for the flow's `[source]` by which the header and what is not a row are skipped.
        trimmed: whether blanks at the end of lines are missing.
        footer: the beginnings of last rows that may not be records.
        crossed: doubts about values that run into the next column, and lines of another length than the others.
    """

    spans: dict[str, list[int]]
    table: dict[str, object]
    trimmed: bool
    footer: list[str]
    crossed: list[str]

    @property
    def source(self) -> dict[str, object]:
        """The flow's `[source]`."""
        trimmed = {"trimmed": True} if self.trimmed else {}
        return {"format": "fixed", "fixed": {"columns": self.spans} | trimmed} | self.table

    @property
    def doubts(self) -> list[str]:
        shown = listed([f"{name} {first}-{last}" for name, (first, last) in self.spans.items()], 5, str)
        named = " (named by the header)" if "header" in self.table else ""
        asked = [
            f"it has no delimiter, but blanks at the same places: read as columns of fixed width{named}, "
            f"{shown}: compare with its description, as a longer value may begin in the blanks before it"
        ]
        if "footer" in self.table:
            asked.append("a count of the rows at the end is skipped as a footer: is that right?")
        return [*asked, *self.crossed]


def fixed_columns(lines: Sequence[str]) -> FixedColumns | None:
    """Return the columns of these lines; None if they do not look like fixed width."""
    texts = [line.rstrip("\r\n") for line in lines]
    first = texts[:_FIRST]
    if any("\t" in text for text in first):
        return None
    for at, rule in _heads(first):
        head = first[at]
        if (rows := _Rows.of(first[at + 1 :])) is None:
            continue
        columns = _columns(head, rule, rows)
        if rule and len(columns) == 1:
            continue  # an underlined title
        if _are_named(columns, rows, is_sure=bool(rule), is_first=not any(first[:at])):
            if len(columns) == 1:
                return None  # a name above values that have blanks at the same places
            if (whole := _Rows.of(texts[at + 1 :])) is not None:
                more = _columns(head, rule, whole)
                # A stray line further down may fill the blanks.
                columns, rows = (more, whole) if len(more) == len(columns) else (columns, rows)
            cut = [name for name, (start, end) in columns if head[start:end].strip() == name]
            contains = Start(0, cut).contains
            header: dict[str, object] = {"contains": contains} if contains else {"row": at + 1}
            return _found(columns, {"header": header} | _comment(texts[at + 1 :]), rows, texts)
    rows = _Rows.of(texts)
    if rows is None or not rows.are_aligned:
        return None
    columns = [(f"column_{n}", run) for n, run in enumerate(rows.at_edges(rows.whole_values()), 1)]
    return _found(columns, _comment(texts), rows, texts) if len(columns) > 1 else None


def _is_rule(text: str) -> bool:
    """Return whether it is a line of dashes or the like."""
    return _RULE.fullmatch(text) is not None and len(text.replace(" ", "")) >= _FEWEST_MARKS


def _heads(lines: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Yield where the header may be, the most likely first, and the rule below it."""
    heads = [n for n, text in enumerate(lines[:_HEADS]) if text.strip() and not _is_rule(text)]
    yield from ((at, lines[at + 1]) for at in heads if at + 1 < len(lines) and _is_rule(lines[at + 1]))
    # A title may be above the header, but only a row below it.
    yield from ((at, "") for at in reversed(heads))


def _comment(texts: Sequence[str]) -> dict[str, object]:
    """Return the setting that skips rules like the first one."""
    mark = next(filter(_is_rule, texts), "")[:_LONGEST_COMMENT].rstrip()
    return {"comment": mark} if mark else {}


def _found(
    columns: Sequence[Column], table: dict[str, object], rows: "_Rows", texts: Sequence[str]
) -> FixedColumns | None:
    """Return the columns, unless they are values with delimiters, filled up with blanks."""
    each = (rows.values(run) for _, run in columns)
    if any(values and all(value.rstrip().endswith(",") for value in values) for values in each):
        return None
    width = columns[-1][1][1]
    short = [n for n, line in enumerate(rows.lines, 1) if len(line) < width]
    # Among even lines, a last one that is too short may have been cut off.
    trimmed = bool(short) and not (rows.is_even and short == [len(rows.lines)])
    spans = {name: [start + 1, end] for name, (start, end) in columns}
    if rows.counts:
        table = table | {"footer": {"rows": rows.counts}}
    doubts = list(_crossed(columns, rows, texts))
    if trimmed and rows.is_even:
        shown = counted(len(short), "line is", "lines are")
        doubts.append(
            f"{shown} shorter than nearly all others: read as if only blanks at the end were missing (trimmed)"
        )
    return FixedColumns(spans, table, trimmed, rows.footer, doubts)


def _crossed(columns: Sequence[Column], rows: "_Rows", texts: Sequence[str]) -> Iterator[str]:
    """Yield a doubt about the first value across each boundary."""
    for (name, (_, end)), (other, _) in pairwise(columns):
        over = [line for line in rows.lines if len(line) > end and " " not in line[end - 1 : end + 1]]
        if over:
            cells = (cell[0] for cell in _CELL.finditer(over[0]) if cell.start() < end < cell.end())
            value = next(cells, over[0])  # a no-break space is in no cell
            yield (
                f"line {texts.index(over[0]) + 1}: {elided(value, 100)!r} runs from {name!r} into {other!r}, which "
                f"begins at character {end + 1}: correct the columns, unless these are two values"
            )


@frozen
class _Rows:
    """The lines that are likely rows.

    Attributes:
        some: a part, filled up with blanks to the same width.
        filled: for each place, whether a line has a letter there.
        counts: how many lines at the end only count the rows.
        footer: the beginnings of other lines at the end that may not be rows.
    """

    lines: list[str]
    some: list[str]
    filled: bytes
    counts: int
    footer: list[str]

    @classmethod
    def of(cls, texts: Sequence[str]) -> "_Rows | None":
        """Leave out what is not a row; None if too few lines are left."""
        lines = [text for text in texts if text.strip() and not _is_rule(text)]
        footer, counts = list[str](), 0
        for text in reversed(lines[-_TAIL:]):
            if is_count := _COUNT.fullmatch(text.strip()):
                counts += not footer
            elif not TOTAL.match(text.strip()):
                break
            if not is_count or footer:
                footer.append(_CELL.findall(text)[0][:50])
            lines.pop()
        if len(lines) < _FEWEST:
            return None
        usual, count = Counter(map(len, lines)).most_common(1)[0]
        if count >= _ALIKE * len(lines):  # the ends of few longer lines are no values of the last column
            lines = [text for text in lines if len(text.rstrip()) <= usual]
        width = max(map(len, lines))
        some = [text.ljust(width) for text in lines[:: len(lines) // _SOME + 1]]
        return cls(lines, some, _filled(lines, width), counts, list(dict.fromkeys(reversed(footer))))

    @property
    def is_even(self) -> bool:
        """Whether most lines have the same length."""
        width = len(self.some[0])
        return sum(len(text) == width for text in self.lines) >= _ALIKE * len(self.lines)

    @property
    def are_aligned(self) -> bool:
        """Whether blanks at the same places are no coincidence."""
        is_spaced = sum("  " in text.strip() for text in self.lines) >= _ALIKE * len(self.lines)
        return self.is_even or is_spaced or len(self.lines) >= _MANY

    def values(self, run: Run) -> list[str]:
        """Return what is there in some rows, unless it is blank, with its blanks."""
        start, end = run
        return [value for row in self.some if (value := row[start:end].ljust(end - start)).strip()]

    def best_cut(self, left: int, right: int) -> int:
        """Return the place between two names that cuts the fewest words, the last one below most blanks."""

        def merit(at: int) -> tuple[int, int, int]:
            pairs = [row[at - 1 : at + 1].ljust(2) for row in self.some]
            return -sum(" " not in pair for pair in pairs), sum(pair[0] == " " for pair in pairs), at

        return max(range(left + 1, right + 1), key=merit)

    def whole_values(self, head: str = "") -> list[Run]:
        """Return the runs; words of a value that stand apart by chance, without a name of their own, are in one."""
        whole = list[Run]()
        for start, end in _runs(self.filled):
            if whole and start - whole[-1][1] == 1 and not head[start:end].strip():
                before = [(row[start - 2] != " ", bool(row[start:end].strip())) for row in self.some]
                # In rows of more words the first ends there, in others of them it does not.
                if all(is_end for is_end, has_more in before if has_more) and (False, False) in before:
                    whole[-1] = (whole[-1][0], end)
                    continue
            whole.append((start, end))
        return whole

    def at_edges(self, runs: Sequence[Run]) -> list[Run]:
        """Return the runs without gaps; the blanks between belong to the left, or to a right-aligned column."""
        begins = [0]
        for (_, left), (start, end) in pairwise(runs):
            values = self.values((start, end))
            ends = sum(not value.endswith(" ") for value in values) >= _MOST * len(values)
            is_right = bool(values) and ends and any(value.startswith(" ") for value in values)
            begins.append(left if is_right else start)
        return list(zip(begins, [*begins[1:], runs[-1][1]], strict=True))


def _filled(lines: Sequence[str], width: int) -> bytes:
    """Return a byte for each place: whether a line has a letter there."""
    found = 0
    for line in lines:
        plain = line if line.isascii() else _NOT_BLANK.sub("x", line)
        found |= int.from_bytes(plain.encode().translate(_IS_FILLED), "little")
    return found.to_bytes(width, "little")


def _runs(filled: bytes) -> list[Run]:
    return [match.span() for match in re.finditer(b"\1+", filled)]


def _are_named(columns: Sequence[Column], rows: _Rows, *, is_sure: bool, is_first: bool) -> bool:
    """Return whether a line names the columns, and is not a title or a row.

    Args:
        is_sure: whether a rule is below it.
        is_first: whether nothing is above it.
    """
    names = [name for name, _ in columns]
    if not all(re.search(r"[^\W_]", name) for name in names) or len(set(map(str.lower, names))) < len(names):
        return False
    if is_sure:
        return True
    if not rows.are_aligned:
        return False
    values = [list(map(str.strip, rows.values(run))) for _, run in columns]
    typed = [name for name, some in zip(names, values, strict=True) if some and is_typed(some)]
    if typed:
        return not any(is_typed([name]) for name in typed)
    # Names are not among the categories of their columns.
    recurs = any(len(some) >= _MANY and len(set(some)) <= len(some) / 2 for some in values)
    return is_first and recurs and not any(name in some for name, some in zip(names, values, strict=True))


def _columns(head: str, rule: str, rows: _Rows) -> list[Column]:
    """Return the columns that a header names; the names of some are empty if it does not."""
    starts = [match.start() for match in re.finditer(r"\S+", rule)]
    if len(starts) > 1 and not any(rows.filled[start - 1 : start] == b"\1" for start in starts[1:]):
        ends = [*starts[1:], max(len(rows.filled), len(rule))]
        runs = list(zip([0, *starts[1:]], ends, strict=True))
        return [(head[start:end].strip(), (start, end)) for start, end in runs]
    cells, runs = list(_CELL.finditer(head)), rows.whole_values(head)
    if len(cells) == len(runs) and any(
        m != n and cell.start() < end and start < cell.end()
        for n, cell in enumerate(cells)
        for m, (start, end) in enumerate(runs)
    ):  # names that are not above their columns
        return [(cell[0], run) for cell, run in zip(cells, rows.at_edges(runs), strict=True)]
    parts = _merged(list(_parts(head, rows)))
    edges = rows.at_edges([(part.start, part.end) for part in parts])
    columns = [(head[start:end].strip(), (start, end)) for start, end in edges]
    if columns and not columns[0][0] and all(name for name, _ in columns[1:]):
        columns[0] = ("column_1", columns[0][1])  # such as numbers of rows
    return columns


@define
class _Part:
    """A piece between places that are blank in the header and all rows."""

    start: int
    end: int
    name: Run | None
    has_values: bool

    @property
    def lacks_values(self) -> bool:
        """Whether it only has a name."""
        return self.name is not None and not self.has_values

    def join(self, right: "_Part") -> None:
        """Take in the next piece."""
        names = [one for one in (self.name, right.name) if one]
        self.end, self.name = right.end, (names[0][0], names[-1][1]) if names else None
        self.has_values = self.has_values or right.has_values


def _parts(head: str, rows: _Rows) -> Iterator[_Part]:
    width = max(len(head), len(rows.filled))
    values = bytearray(width)
    for start, end in rows.whole_values(head):
        values[start:end] = b"\1" * (end - start)
    for start, end in _runs(bytes(map(max, values, _filled([head], width)))):
        # Names that are apart have values that touch: they are cut where most rows have a blank.
        names = [(start + one.start(), start + one.end()) for one in _CELL.finditer(head[start:end])]
        cuts = [start, *(rows.best_cut(left, right) for (_, left), (right, _) in pairwise(names)), end]
        for n, (begin, stop) in enumerate(pairwise(cuts)):
            yield _Part(begin, stop, names[n] if names else None, 1 in values[begin:stop])


def _merged(parts: Sequence[_Part]) -> list[_Part]:
    """Put together the words of a name, the words of values, and a name and values that are not below it."""
    merged = list[_Part]()
    for n, part in enumerate(parts):
        last = merged[-1] if merged else None
        after, then = [*parts[n + 1 : n + 3], None, None][:2]
        if last is None:
            is_one = False
        elif part.name is None:  # its name is to the left, unless there is one to the right without values
            is_right = after is not None and after.lacks_values and (then is None or then.name is not None)
            is_one = not (last.has_values and is_right)
        elif last.name is None:
            is_one = part.lacks_values
        else:
            has_own = part.has_values or (after is not None and after.name is None)
            is_one = part.name[0] - last.name[1] == 1 and not (last.has_values and has_own)
        if last is not None and is_one:
            last.join(part)
        else:
            merged.append(part)
    return merged
