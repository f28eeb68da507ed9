"""Builds the SQL of a run from a compiled flow. Pure.

One scan of the source stages every row with a bit mask of the checks that it breaks (see `stage`); the mapped rows,
the rejects and the counts are then read from there. Names that begin with `_lume_` are the engine's own:
`_lume_s<n>` is the n-th raw column of the source, `_lume_why<n>` the n-th mask of 62 checks, and `_lume_raw` the
list of the raw columns if only rejects keep theirs.
"""

# ruff: noqa: S608 - building SQL is what this file is for; every part is compiled, quoted or a constant.
from collections.abc import Iterator, Sequence
from typing import Any

from attrs import evolve, field, frozen

from lume_local._flow.definition import RESERVED, quoted
from lume_local._worker.sql import text

BITS = 62
"""Checks per mask: a BIGINT's bits, without its sign and one spare."""

NUMBER = "_lume_n"
OUT = "_lume_out"
"""Whether the flow's row filter removes a row; `_lume_reject` is then NULL, neither true nor false."""
PLACE = "_lume_place"
"""The number of a row in the source, from 0; staged if rows may be in another order."""
LAYOUT = "_lume_layout"
"""The layout of a row's file; there are no others in a version without layouts."""


def form_of(flow: dict[str, Any], layout: str) -> dict[str, Any]:
    """Return the compiled form by which the files of a layout are read; the flow's own for files without one."""
    if not layout:
        return flow
    form: dict[str, Any] = flow | flow["layouts"][layout]
    return form | {"ref": f"{flow['ref']} ({layout})", "settings": f"[layouts.{layout}.source]"}


def settings_of(flow: dict[str, Any]) -> str:
    """Return the table of a flow file that says how files are read, for messages."""
    return str(flow.get("settings", "[source]"))


def forms_of(flow: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the compiled forms by which files are read: one for each layout, or only the flow's own."""
    yield from (form_of(flow, layout) for layout in flow["layouts"] or ("",))


_ALL = "_lume_all"


@frozen
class Branch:
    """The rows of one layout's files.

    Attributes:
        reader: SQL for them, in the columns of these files.
        visible: name -> index of these columns that the layout's expressions may see.
        places: the number of each of these columns among those of the whole relation.
        own: these columns as a relation of their own, without a reader.
        is_listed: whether the reader yields a list of them as `_lume_all`, beside the visible ones.
    """

    layout: str
    reader: str
    visible: dict[str, int]
    places: tuple[int, ...]
    own: "Relation"
    is_listed: bool = False

    @property
    def raw_names(self) -> list[str]:
        """The engine's names of what a reject keeps of these columns."""
        return [_ALL] if self.is_listed else [f"_lume_s{n}" for n in range(len(self.places))]

    @property
    def listed(self) -> str:
        """SQL for the list of them."""
        return _ALL if self.is_listed else f"[{', '.join(self.raw_names)}]::VARCHAR[]"


@frozen
class Relation:
    """A query for the raw columns of the source, and their names.

    Attributes:
        reader: SQL that yields `_lume_s0`, `_lume_s1`, … as text, and for NDJSON also `_lume_line_text`.
        raw: the source's names of `_lume_s0`, `_lume_s1`, …
        visible: name -> index of the raw columns that the expressions may see.
        json_lines: whether there is `_lume_line_text`, the original NDJSON line.
        of_files: whether there is `_lume_file`, the name of one of several files.
        unknown: the names of columns that the flow does not read.
        aliases: the source's names for columns with aliases; several files may use different ones.
        members: for JSON, the members of its objects: those the flow reads, or all; empty for other formats.
        branches: the rows by layout, in place of `reader` and `visible`; empty for a version without layouts.
        is_numbered: whether the branches' readers yield `PLACE`, as their rows have to be put in order afterwards.
    """

    reader: str
    raw: tuple[str, ...]
    visible: dict[str, int]
    json_lines: bool = False
    of_files: bool = False
    unknown: tuple[str, ...] = ()
    members: tuple[str, ...] = ()
    aliases: dict[str, list[str]] = field(factory=dict)
    branches: tuple[Branch, ...] = ()
    is_numbered: bool = False

    @property
    def raw_names(self) -> list[str]:
        """The engine's names of all raw columns that a reject keeps."""
        return [
            *(f"_lume_s{n}" for n in range(len(self.raw))),
            *(["_lume_line_text"] if self.json_lines else []),
            *(["_lume_file"] if self.of_files else []),
        ]

    def kept_at(self, layout: str) -> dict[str, int]:
        """Return the place of each raw column in `_lume_raw`, the list that a reject with this layout keeps."""
        names = self.raw_names
        for branch in self.branches:
            if branch.layout == layout:
                file = ["_lume_file"] if self.of_files else []
                names = [LAYOUT, *file, *(f"_lume_s{n}" for n in branch.places)]
        return {name: n for n, name in enumerate(names)}

    @property
    def readers(self) -> tuple[str, ...]:
        return tuple(one.reader for one in self.branches) or (self.reader,)

    def read_by(self, readers: Sequence[str]) -> "Relation":
        """Return the same relation with other readers."""
        if not self.branches:
            return evolve(self, reader=readers[0])
        both = zip(self.branches, readers, strict=True)
        return evolve(self, branches=tuple(evolve(branch, reader=reader) for branch, reader in both))

    @property
    def seen(self) -> set[int]:
        """The raw columns that expressions may see."""
        of_branches = (
            one.places[n] for one in self.branches if not one.is_listed for n in one.visible.values()
        )
        return {*self.visible.values(), *of_branches}

    def by_layout(self, flow: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], "Relation"]]:
        """Yield the columns of each layout's files, with its name and the form that reads them."""
        if not self.branches:
            yield "", flow, self
        for one in self.branches:
            yield one.layout, form_of(flow, one.layout), one.own


@frozen
class Statements:
    """The statements of one run.

    Attributes:
        found: the reasons for which any row is rejected, once known.
    """

    flow: dict[str, Any]
    relation: Relation
    found: frozenset[str] | None = None
    masks: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "masks", max(1, -(-len(self.flow["checks"]) // BITS)))

    def by(self, *readers: str) -> "Statements":
        """Return the same statements for other readers."""
        return evolve(self, relation=self.relation.read_by(readers))

    @property
    def targets(self) -> str:
        """The target's columns, as a select list."""
        return ", ".join(quoted(column["name"]) for column in self.flow["columns"])

    def stage(self) -> str:
        """Return the one scan: target columns, masks, `_lume_reject`, and the raw columns if needed."""
        relation = self.relation
        if not relation.branches:
            kept = relation.raw_names
            if kept and not self.is_judged_late:  # else any row may turn out to be a reject after the scan
                # One column, because each of many almost empty columns would cost as much as a full one.
                listed = f"[{', '.join(kept)}]"
                kept = [f"{self._if_rejected(listed)} AS _lume_raw"]
            return self._staged(self.flow, relation.reader, relation.visible, relation.raw_names, kept)
        return " UNION ALL ".join(map(self._staged_branch, relation.branches))

    def _staged_branch(self, branch: Branch) -> str:
        """Return the rows of a layout, each with a list of the columns of its own files: all may have very many."""
        own = [LAYOUT, *(["_lume_file"] if self.relation.of_files else [])]
        marked = f"SELECT *, {text(branch.layout)} AS {LAYOUT} FROM ({branch.reader})"
        kept = f"list_concat([{', '.join(own)}], {branch.listed})"
        kept = f"{kept if self.is_judged_late else self._if_rejected(kept)} AS _lume_raw"
        form = form_of(self.flow, branch.layout)
        return self._staged(form, marked, branch.visible, [*own, *branch.raw_names], [kept])

    def _staged(
        self, form: dict[str, Any], reader: str, visible: dict[str, int], raw: list[str], kept: list[str]
    ) -> str:
        columns = ", ".join([self.targets, *self._judgement, *kept, *self._place])
        masked = self._masked(form, reader, visible, raw)
        return f"SELECT {columns} FROM (SELECT *, {self._reject()} AS _lume_reject FROM ({masked}))"

    def unmapped(self, staged: str) -> str:
        """Return the staged data besides the mapped columns that no check of the whole reads again."""
        summed = {quoted(one["column"]): None for one in self.flow["whole"] if one["kind"] == "sum"}
        columns = [*summed, *self._judgement, *(["_lume_raw"] if self._has_raw else [])]
        return f"SELECT {', '.join(columns)} FROM {staged}"

    @property
    def _has_raw(self) -> bool:
        return bool(self.relation.raw_names or self.relation.branches)

    @staticmethod
    def _if_rejected(value: str) -> str:
        return f"CASE WHEN _lume_reject THEN {value} END"

    @property
    def _judgement(self) -> list[str]:
        return [*(f"_lume_why{n}" for n in range(self.masks)), "_lume_reject"]

    @property
    def is_judged_late(self) -> bool:
        """Whether rows are rejected that break no check: because of other rows, or by a database."""
        return bool(self.flow["unique"] or self.flow["references"] or self.flow["judged_by_table"])

    def _reject(self) -> str:
        bits = [0] * self.masks
        for n, check in enumerate(self.flow["checks"]):
            if check["on_fail"] == "reject":
                bits[n // BITS] |= 1 << (n % BITS)
        broken = " OR ".join(f"(_lume_why{n} & {mask}) <> 0" for n, mask in enumerate(bits))
        return f"CASE WHEN NOT {OUT} THEN {broken} END" if self.flow["where"] else f"({broken})"

    def _masked(self, form: dict[str, Any], reader: str, visible: dict[str, int], raw: list[str]) -> str:
        masks: list[list[str]] = [[] for _ in range(self.masks)]
        for n, check in enumerate(self.flow["checks"]):
            # A filtered row breaks no other check.
            is_first = f"NOT {OUT} AND " if self.flow["where"] and check["on_fail"] != "filter" else ""
            broken = f"{is_first}({check['sql']})"
            masks[n // BITS].append(f"(CASE WHEN {broken} THEN {1 << (n % BITS)} ELSE 0 END)::BIGINT")
        whys = ", ".join(
            f"{' | '.join(terms) or '0::BIGINT'} AS _lume_why{n}" for n, terms in enumerate(masks)
        )
        rules = "".join(f", {rule} AS _lume_rule{n}" for n, rule in enumerate(self.flow["rules"]))
        return f"SELECT *, {whys} FROM (SELECT *{rules} FROM ({self._typed(form, reader, visible, raw)}))"

    def _typed(self, form: dict[str, Any], reader: str, visible: dict[str, int], raw: list[str]) -> str:
        """Return nested steps, as an expression that occurs twice in one statement may be evaluated twice."""
        made, kept, bad = [], [], []
        checks = " ".join(check["sql"] for check in self.flow["checks"])
        if self.flow["where"]:
            made.append(
                f"(_lume_where IS NOT NULL AND NOT coalesce(struct_extract(_lume_where, 'v'), false)) AS {OUT}"
            )
        for n, column in enumerate(form["columns"]):
            name = quoted(column["name"])
            made.append(f"{column['made']} AS _lume_made{n}")
            kept.append(f"{column['kept']} AS {name}")
            is_lost = f"({column['value']} IS NOT NULL AND {name} IS NULL)"
            if column["threw"] != "false" or f"_lume_threw{n}" in checks:  # else it costs, and says nothing
                kept.append(f"({column['threw']}) AS _lume_threw{n}")
                is_lost = f"(_lume_threw{n} OR {is_lost})"
            bad.append(f"{is_lost} AS _lume_bad{n}")
        rows = self._evaluated(form, reader, visible, raw)
        for items in (made, kept, bad):
            rows = f"SELECT *, {', '.join(items)} FROM ({rows})"
        return rows

    def _evaluated(self, form: dict[str, Any], reader: str, visible: dict[str, int], raw: list[str]) -> str:
        items = [*raw, *self._place]
        items += [column["inner"] for column in form["columns"]]
        # A layout without a filter has that of the version, which keeps all rows.
        items += [f"{form['where'] or self.flow['where']} AS _lume_where"] if self.flow["where"] else []
        words, seen = ", ".join(map(text, form["null"])), ""
        for name, n in visible.items():
            value = f"_lume_s{n}"
            if words:  # that the source has for a missing value
                value = f"CASE WHEN coalesce(list_position([{words}], trim({value})), 0) = 0 THEN {value} END"
            seen += f", {value} AS {quoted(name)}"
        rows = self._looked_up(form, f"SELECT *{seen} FROM ({reader})")
        return f"SELECT {', '.join(items)} FROM ({rows})"

    def _looked_up(self, form: dict[str, Any], rows: str) -> str:
        """Add the seeds' values to each row. No row is lost or doubled, as keys are unique in a seed.

        DuckDB guarantees no order after a join, so each row is numbered before it (see `stage.in_order`).
        """
        if self._place and not self.relation.is_numbered:
            rows = f"SELECT *, row_number() OVER () - 1 AS {PLACE} FROM ({rows})"
        for lookup in form["lookups"]:
            found = "".join(f", seed.{quoted(name)} AS {alias}" for name, alias in lookup["columns"].items())
            rows = (
                f"SELECT keyed.*{found} FROM (SELECT *, {lookup['key']} FROM ({rows})) AS keyed LEFT JOIN "
                f"{lookup['table']} AS seed ON struct_extract(keyed.{lookup['key_name']}, 'v') = seed._lume_key"
            )
        return rows

    @property
    def _place(self) -> list[str]:
        return [PLACE] if self.is_numbered else []

    @property
    def is_numbered(self) -> bool:
        """Whether rows have their `PLACE`, as they may be in another order."""
        return bool(self.flow["lookups"]) or self.relation.is_numbered

    @property
    def has_paths(self) -> bool:
        """Whether rejects have a path in their file, as objects do that are not on lines of their own."""
        return any(form["format"] in ("json", "xml") for form in forms_of(self.flow))

    @property
    def only_rejects(self) -> bool:
        """Whether every row that breaks a check is rejected, and every other row mapped."""
        return not self.is_judged_late and all(check["on_fail"] == "reject" for check in self.flow["checks"])

    def flawless(self, mapped: str) -> str:
        """Return mapped rows in the form of staged ones, if none was rejected."""
        whys = "".join(f", 0::BIGINT AS _lume_why{n}" for n in range(self.masks))
        return f"(SELECT *{whys}, false AS _lume_reject, NULL::VARCHAR[] AS _lume_raw FROM {mapped})"

    def counts(self, staged: str) -> str:
        """Return a query for the number of rows, of rejects, then of the rows that break each check."""
        items = ["count(*)", count_of("_lume_reject")]
        for n in range(len(self.flow["checks"])):
            items.append(count_of(breaks(n)))
        return f"SELECT {', '.join(items)} FROM {staged}"

    def shown(self) -> str:
        """Return the raw columns, the target's as text, and the masks of each row, each as a list."""
        raw = ", ".join(f"_lume_s{n}" for n in range(len(self.relation.raw)))
        made = ", ".join(f"CAST({quoted(one['name'])} AS VARCHAR)" for one in self.flow["columns"])
        whys = ", ".join(f"_lume_why{n}" for n in range(self.masks))
        relation = self.relation
        masked = self._masked(self.flow, relation.reader, relation.visible, relation.raw_names)
        return f"SELECT [{raw}], [{made}], [{whys}] FROM ({masked})"

    def kinds(self, staged: str) -> str:
        """Return a query that groups rows by the broken checks: the masks, whether they are rejects, their number."""
        whys = ", ".join(f"_lume_why{n}" for n in range(self.masks))
        return f"SELECT {whys}, _lume_reject, count(*) FROM {staged} GROUP BY ALL"

    def each(self, staged: str) -> str:
        """Return each row: the masks, whether it is a reject, its number, and the list of a reject's raw columns."""
        raw = "_lume_raw" if self._is_packed else f"[{', '.join(self.relation.raw_names)}]"
        raw = self._if_rejected(raw) if self.is_judged_late else raw
        items = [*self._judgement, "file_row_number", raw if self._has_raw else "NULL"]
        return f"SELECT {', '.join(items)} FROM {staged}"

    def first_broken(self, staged: str, check: int) -> str:
        """Return the number of the first row that breaks a check, from 1."""
        return f"SELECT min(file_row_number) + 1 FROM {staged} WHERE {breaks(check)}"

    def mapped(self, staged: str, duplicates: bool) -> str:
        """Return the rows to publish, in the order of the source."""
        if not duplicates:
            return f"SELECT {self.targets} FROM {staged} WHERE NOT _lume_reject"
        return f"{self.unordered(staged, self.targets)} ORDER BY staged.file_row_number"

    def numbered(self, staged: str) -> str:
        """Return the rows to publish with their numbers, if there is `_lume_duplicates`."""
        items = f"{self.targets}, staged.file_row_number AS {NUMBER}"
        return f"{self.unordered(staged, items)} ORDER BY staged.file_row_number"

    def unordered(self, staged: str, items: str) -> str:
        """Return the rows to publish in any order, which costs no sort, if there is `_lume_duplicates`."""
        return (
            f"SELECT {items} FROM {staged} AS staged ANTI JOIN _lume_duplicates AS twice "
            "ON staged.file_row_number = twice.n WHERE NOT _lume_reject"
        )

    def rejects(self, staged: str, duplicates: bool) -> str:
        """Return the rejected rows: number, reasons, file name if several, raw values; for NDJSON the line."""
        line_text = "_lume_line_text" if self.relation.json_lines else "NULL::VARCHAR"
        items = [
            "file_row_number + 1 AS _lume_row",
            "NULL::BIGINT AS _lume_line",
            f"{self.reasons(duplicates)} AS _lume_reasons",
            *(f"{name} AS {quoted(label)}" for name, label in self.shown_labels()),
            f"{line_text} AS _lume_raw",
        ]
        return f"SELECT {', '.join(items)} FROM {self.rejected(staged, duplicates)}"

    def rejected(self, staged: str, duplicates: bool) -> str:
        """Return the FROM clause for the rejected rows in the order of the source."""
        unpacked = self._unpacked() if self._is_packed else ""
        if not duplicates:
            staged = f"(SELECT *{unpacked} FROM {staged})" if unpacked else staged
            return f"{staged} WHERE _lume_reject"
        rows = (
            f"{staged} AS staged LEFT JOIN _lume_duplicates AS twice ON staged.file_row_number = twice.n "
            "WHERE _lume_reject OR twice.n IS NOT NULL"
        )
        if not unpacked:
            return f"{rows} ORDER BY staged.file_row_number"
        late = f"(SELECT *{unpacked} FROM (SELECT staged.*, twice.bits, twice.why FROM {rows}))"
        return f"{late} AS twice ORDER BY file_row_number"

    @property
    def _is_packed(self) -> bool:
        """Whether the raw columns are in the list `_lume_raw`."""
        return not self.is_judged_late or bool(self.relation.branches)

    def _unpacked(self) -> str:
        """Return the raw columns of rejects as further items of a select list."""
        relation = self.relation
        at = {layout: relation.kept_at(layout) for layout, _, _ in relation.by_layout(self.flow)}
        items = ""
        for name in dict.fromkeys(name for each in at.values() for name in each):
            places = {layout: f"_lume_raw[{each[name] + 1}]" for layout, each in at.items() if name in each}
            value, *others = set(places.values())
            if others or len(places) < len(at):
                whens = (f"WHEN _lume_raw[1] = {text(one)} THEN {there}" for one, there in places.items())
                value = f"CASE {' '.join(whens)} END"
            items += f", {value} AS {name}"
        return items

    def numbered_rejects(self, staged: str, duplicates: bool) -> str:
        """Return the rejected rows with their number among the rows, `n`, and among the rejects, `k`, from 0."""
        late = ", twice.bits, twice.why" if duplicates else ""
        whys = "".join(f", _lume_why{n}" for n in range(self.masks))
        rows = f"{staged} WHERE _lume_reject" if not duplicates else self.rejected(staged, duplicates)
        items = f"file_row_number AS n{whys}{late}"
        return f"SELECT *, row_number() OVER (ORDER BY n) - 1 AS k FROM (SELECT {items} FROM {rows})"

    def conditions(self, duplicates: bool) -> dict[str, str]:
        """Return each reason with the condition for it in `numbered_rejects`, without the reasons in `why`."""
        found: dict[str, str] = {}
        for n, reason in self._rejecting():
            either = found.get(reason)
            found[reason] = f"{either} OR {breaks(n)}" if either else breaks(n)
        for n, name in enumerate(self.flow["unique"] if duplicates else ()):
            found[twin_reason(name)] = f"(bits & {1 << n}) <> 0"
        return found

    def shown_labels(self) -> Iterator[tuple[str, str]]:
        """Yield the columns of a reject between its reasons and `_lume_raw`, each with its label."""
        if self.relation.of_files:
            yield "_lume_file", "_lume_file"
        if self.relation.branches:
            yield LAYOUT, LAYOUT
        if self.has_paths:
            yield "NULL::VARCHAR", "_lume_path"
        yield from self.raw_labels()

    def raw_labels(self) -> Iterator[tuple[str, str]]:
        """Yield the raw columns with the source's own names; a repeated name gets a number.

        Columns that the flow reads keep their names, even if others differ only in case: corrected rejects need them.
        """
        taken = {"_lume_row", "_lume_line", "_lume_reasons", "_lume_raw"}
        read, labels = self.relation.seen, dict[int, str]()
        for n in sorted(range(len(self.relation.raw)), key=lambda n: n not in read):
            name = self.relation.raw[n]
            if name.lower().startswith(RESERVED):
                continue  # a corrected rejects file was submitted again: these are the reasons of the earlier run
            label, again = name or f"column_{n + 1}", 1
            while label.lower() in taken:
                again += 1
                label = f"{name or f'column_{n + 1}'}_{again}"
            taken.add(label.lower())
            labels[n] = label
        yield from ((f"_lume_s{n}", labels[n]) for n in sorted(labels))

    def reasons(self, duplicates: bool) -> str:
        """Return the reasons of a rejected row, as one text."""
        each = [f"CASE WHEN {breaks(n)} THEN {text(reason)} END" for n, reason in self._rejecting()]
        if duplicates:
            for n, name in enumerate(self.flow["unique"]):
                each.append(f"CASE WHEN (twice.bits & {1 << n}) <> 0 THEN {text(twin_reason(name))} END")
            each.append("twice.why")
        return f"concat_ws('; ', {', '.join([*each, 'NULL::VARCHAR'])})"

    def reasons_of(self, masks: Sequence[int]) -> list[str]:
        """Return the reasons for which a row with these masks is rejected."""
        return [reason for n, reason in self._rejecting() if masks[n // BITS] & (1 << (n % BITS))]

    def _rejecting(self) -> Iterator[tuple[int, str]]:
        """Yield the numbers of the checks that reject rows, each with its reason."""
        for n, check in enumerate(self.flow["checks"]):
            if check["on_fail"] == "reject" and (self.found is None or check["reason"] in self.found):
                yield n, check["reason"]


def breaks(check: int) -> str:
    """Return the condition that a row breaks the check with this number."""
    return f"(_lume_why{check // BITS} & {1 << (check % BITS)}) <> 0"


def rejects_as_bits(condition: str, count: int, number: str = "k") -> str:
    """Return an aggregate: the rejects (of `count`) that meet the condition, as a BIT; NULL if there are none."""
    return f"bitstring_agg({number}, 0, {count - 1}) FILTER ({condition})::VARCHAR"


def count_of(condition: str) -> str:
    """Return an aggregate that counts the rows. With FILTER, its memory would grow with the square of the columns."""
    return f"count(CASE WHEN {condition} THEN 1 END)"


def twin_reason(name: str) -> str:
    return f"{name}: repeats the value of an earlier row"
