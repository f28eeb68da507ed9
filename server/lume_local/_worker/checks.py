"""The checks of a flow over the rows of a run as a whole (see `_flow.checks`)."""

# ruff: noqa: S608 - the parts of its SQL are compiled, quoted or constants.
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Any, NamedTuple

import duckdb

from lume_async._base.elided import elided
from lume_async._base.words import counted, listed
from lume_local._flow.checks import FOOTER, PATH, VIOLATED, Check
from lume_local._flow.definition import quoted
from lume_local._worker.sources.files import opened
from lume_local._worker.sources.source import SourceError
from lume_local._worker.sql import row_of, text
from lume_local._worker.statements import Relation, Statements, breaks, form_of
from lume_local._worker.steps import Context, Metrics, TakenIn


class Checks(NamedTuple):
    """The checks of one run."""

    context: Context
    taken: TakenIn
    metrics: Metrics

    def refused(self) -> str | None:
        """Return the violations that fail the run, if there are any; add the others to the warnings."""
        failed, sums = list[str](), self._sums()
        for check in self.context.flow["whole"]:
            try:
                with localcontext(prec=100):
                    figures = self._sum(check, *next(sums)) if "total" in check else self._figure(check)
                words = _outside(*figures)
            except (SourceError, duckdb.ProgrammingError) as error:  # for example, a seed that is not here
                words = str(error)
            what = " of ".join(filter(None, (check["kind"], check["column"])))
            if words and check["on_violation"] == "fail":
                failed.append(f"{VIOLATED}{what} failed, {words}")
            elif words:
                self.metrics["warnings"][f"{VIOLATED}{what} failed, {words}"] = 1
        how = "Nothing was written: ask for a corrected source, or change [checks] in a new version"
        return f"{'; '.join(failed)}. {how}" if failed else None

    def _figure(self, check: Check) -> tuple[Any, Any, Any]:
        """Return what was found, and its bounds."""
        profile = self.metrics["columns"].get(check["column"], {})
        if check["kind"] == "newest":
            now = datetime.fromisoformat(self.context.job.at) if self.context.job.at else datetime.now(UTC)
            oldest = f"{now - timedelta(seconds=check['most']):%Y-%m-%d %H:%M:%S}"
            # Texts of this form compare like times, and a day is as new as its end.
            return profile["max"], oldest[: len(profile["max"] or oldest)], None
        if check["kind"] == "nulls":
            return profile["nulls"], None, int(Decimal(repr(check["most"])) * self.metrics["rows_mapped"])
        read = self.metrics["rows_read"] - self.metrics.get("rows_filtered", 0)
        return profile.get(check["kind"], read), check["least"], check["most"]

    def _sums(self) -> Iterator[tuple[Any, ...]]:
        """Return each sum over the rows read, as text or None, and how many of them have no readable number."""
        items, flow = ["count(*)"], self.context.flow
        for check in flow["whole"]:
            if "total" in check:
                at = [one["name"] for one in flow["columns"]].index(check["column"])
                flag = re.compile(rf"(?<!NOT )_lume_(bad|threw){at}\b")
                lost = [breaks(n) for n, one in enumerate(flow["checks"]) if flag.search(one["sql"])]
                # Of a binary number the shortest decimal form, as 0.1 is a tenth; a filtered row is no reject.
                exact = f"{quoted(check['column'])}{'::VARCHAR' * check['is_binary']}::{check['exact']}"
                exact = f"CASE WHEN _lume_reject IS NOT NULL THEN {exact} END"
                items.append(f"coalesce(sum({exact}), 0)::VARCHAR")
                items.append(f"count(CASE WHEN {' OR '.join(lost)} THEN 1 END)")
        try:
            found = row_of(self.context.connection, f"SELECT {', '.join(items)} FROM {self.taken.staged}")
            return zip(found[1::2], found[2::2], strict=True)
        except duckdb.DataError:
            return iter([(None, 0)] * len(items))

    def _sum(self, check: Check, found: str | None, lost: int) -> tuple[Decimal, Decimal, Decimal]:
        """Return the sum and its bounds. Raises `SourceError` if it can't be compared."""
        tolerance, wanted = Decimal(repr(check["most"])), self._control_total(check)
        if found is None:
            raise SourceError(f"more than 38 digits to compare with {wanted}")
        if lost := lost + self.taken.intake.malformed.total:
            raise SourceError(f"{counted(lost, 'row has', 'rows have')} no readable value, {wanted} expected")
        # Of a binary number without the zeros of its exact type.
        total = Decimal(f"{Decimal(found).normalize():f}" if check["is_binary"] else found)
        return total, wanted - tolerance, wanted + tolerance

    def _control_total(self, check: Check) -> Decimal:
        """Return the sum of the control totals of all files. Raises `SourceError`."""
        where, account, total = check["total"], self.taken.intake.account, Decimal()
        if not where.startswith((FOOTER, PATH)):
            return Decimal(where)
        accounts, files = [one for _, one in account.files] or [account], self.context.job.source.get("files")
        for n, said in enumerate(accounts if where == FOOTER else files or accounts):
            form = form_of(self.context.flow, (one := accounts[n if n < len(accounts) else 0]).layout)
            at = [column["name"] for column in form["columns"]].index(check["column"])
            inner = form["columns"][at]["inner"].lower()
            read = [name for name in form["sources"] if name.lower() in inner]
            rows = [{name: row[k] for name, k in one.visible.items() if k < len(row)} for row in one.footer]
            if where != FOOTER:  # as the value of whichever column the expression reads
                total_of = _beside(where, said)
                rows = [{name: total_of} for name in read]
            values = [value for row in rows if (value := self._value(check, form, at, row)) is not None]
            if len(values) != 1:
                texts = dict.fromkeys(text for row in rows for name in read if (text := row.get(name)))
                unread = (
                    f": {listed([*texts], 3, _shown)} can't be read as one" if texts and not values else ""
                )
                raise SourceError(
                    f"{counted(len(values), 'value')} for it in the {where}, one expected{unread}"
                )
            total += values[0]
        return total

    def _value(self, check: Check, form: dict[str, Any], at: int, row: dict[str, str]) -> Decimal | None:
        """Return the value of the column `at` in a row of the source; it may be longer than the column's type."""
        columns, wide = list(form["columns"]), "DOUBLE" if check["is_binary"] else check["exact"]
        for key in ("made", "kept"):
            columns[at] = columns[at] | {key: columns[at][key].replace(f"AS {check['type']})", f"AS {wide})")}
        names = {name: n for n, name in enumerate(form["sources"])}
        values = (f"{text(row[name]) if name in row else 'NULL'} AS _lume_s{n}" for name, n in names.items())
        relation = Relation(f"SELECT {', '.join(values)}", tuple(names), names)
        alone = form | {"columns": columns, "checks": [], "rules": [], "where": None}
        _, made, _ = row_of(self.context.connection, Statements(alone, relation).shown())
        return None if made[at] is None else Decimal(made[at])


def _shown(text: str) -> str:
    return elided(repr(text), 60)


def _beside(name: str, file: Any) -> str:
    """Return the text of the file beside a file of the source. Raises `SourceError`."""
    if not isinstance(file, dict):
        raise SourceError(f"{name} is only read beside files of the server's machine")
    with os.fdopen(opened(Path(name.replace(PATH, file["path"])))[0], "rb") as beside:
        return beside.read(1000).decode("utf-8-sig", "replace").strip()  # no total is longer


def _outside(found: Any, least: Any, most: Any) -> str:
    """Return the words for a figure that is not within the bounds; empty if it is."""
    if found is not None and (least is None or found >= least) and (most is None or found <= most):
        return ""
    bounds = [f"at {how} {end}" for how, end in (("least", least), ("most", most)) if end is not None]
    expected = least if least == most else " and ".join(bounds)
    return f"{'nothing' if found is None else found} found, {expected} expected"
