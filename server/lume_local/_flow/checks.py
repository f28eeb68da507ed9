"""The table `[checks]` of a flow version: what must hold for the rows of a run as a whole. Pure."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from lume_local._flow.fields import FlowError, Table

Check = dict[str, Any]
"""One check, as JSON: its `kind`; its `column` and that one's `type`, empty for `rows`; `on_violation`; the bounds
`least` and `most`, or None (the share of NULL, the age in seconds, how far a sum may be off); of a sum the `total`, a
number, `footer` or a file's name with `{path}`, whether its type `is_binary`, and an `exact` type for it."""
FOOTER, PATH = "footer", "{path}"
VIOLATED = "the check of "  # begins the words for a violation
_MODES = ("fail", "tell")
_AGE = re.compile(r"(\d{1,4})([mhdw])")
_UNITS = {"m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_NUMBERS, _DATES = r"\w*INT\w*|FLOAT|DOUBLE|DECIMAL.*", "DATE|TIMESTAMP.*"
_NEEDED_TYPES = {"sum": _NUMBERS, "nulls": ".*", "distinct": ".*", "newest": _DATES}
_KEYS = {"sum": {"equals", "tolerance"}, "nulls": {"max"}, "newest": {"within"}}


def read_checks(top: Table, types: Mapping[str, str], without: Sequence[str]) -> tuple[Check, ...]:
    """Return `[checks]`, for columns of these SQL types; sources `without` have no footer. Raises `FlowError`."""
    if not top.present("checks"):
        return ()
    table, checks = top.table("checks"), list[Check]()
    mode, columns = table.choice("on_violation", _MODES, default="fail"), table.table("columns")
    for name, holder in {"": table, **{name: columns.table(name) for name in columns.values}}.items():
        if name and name not in types:
            raise FlowError(holder.place, f"is not a column of the flow, which has {', '.join(types)}")
        for kind, needed in (_NEEDED_TYPES if name else {"rows": ""}).items():
            if not holder.present(kind):
                continue
            if not re.fullmatch(needed, type_ := types.get(name, "")):
                raise FlowError(holder.at(kind), f"has no meaning for {type_}: remove it")
            own = holder.table(kind)
            about = {"kind": kind, "column": name, "type": type_}
            about["on_violation"] = own.choice("on_violation", _MODES, default=mode)
            own.known |= _KEYS.get(kind, {"min", "max"})
            own.refuse_unknown()  # before it is read: a misspelt key is missing under its name
            checks.append(about | (_sum(own, type_, without) if kind == "sum" else _bounds(own, kind)))
        holder.refuse_unknown()
    if not checks:
        raise FlowError("checks", "has none: write rows = { min = 1 }, or [checks.columns.<name>]")
    return tuple(checks)


def _bounds(table: Table, kind: str) -> Check:
    if kind == "newest":
        if (age := _AGE.fullmatch(table.text("within"))) is None:
            raise FlowError(table.at("within"), 'must be an age such as "36h", "3d" or "2w"')
        return {"least": None, "most": int(age[1]) * _UNITS[age[2]]}
    if kind == "nulls":
        if (share := table.number("max")) is None or not 0 <= share <= 1:
            raise FlowError(table.at("max"), "must lie between 0 and 1: 0.02 allows NULL in 2 of 100 rows")
        return {"least": None, "most": share}
    least, most = (table.count(key, most=2**53) if table.present(key) else None for key in ("min", "max"))
    if least is most is None or (least or 0) > (2**53 if most is None else most):
        raise FlowError(table.place, "needs min or max, or both, with min at most max")
    return {"least": least, "most": most}


def _sum(table: Table, type_: str, without: Sequence[str]) -> Check:
    given, place, tolerance = table.values.get("equals"), table.at("equals"), table.number("tolerance") or 0
    if tolerance < 0:
        raise FlowError(table.at("tolerance"), "must not be negative")
    if isinstance(given, dict):
        beside = table.table("equals")
        total = beside.text("sidecar")
        beside.refuse_unknown()
        if not re.fullmatch(r"\{path\}[^/{]+", total):
            raise FlowError(beside.at("sidecar"), f'must name a file beside the source: such as "{PATH}.sum"')
    elif isinstance(given, int | float) or given == FOOTER:
        total = table.text("equals") if given == FOOTER else repr(table.number("equals"))
    else:
        raise FlowError(place, f'must be "{FOOTER}", {{ sidecar = "{PATH}.sum" }} or a number')
    if total == FOOTER and without:
        raise FlowError(place, f"is the footer, which {without[0]} does not describe: write footer there")
    is_binary = type_ in ("FLOAT", "DOUBLE")
    exact = f"DECIMAL(38,{'12)' if is_binary else type_.partition(',')[2] or '0)'}"
    return {"total": total, "least": None, "most": tolerance, "is_binary": is_binary, "exact": exact}
