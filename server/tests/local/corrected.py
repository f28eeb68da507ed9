"""Rejected rows as people send them back: saved by a spreadsheet, as objects, or as a workbook."""

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from local.workbooks import written

Rows = Sequence[dict[str, Any]]


def as_csv(rows: Rows, delim: str = ",", encoding: str = "utf-8") -> bytes:
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, list(rows[0]), delimiter=delim)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode(encoding)


def as_objects(rows: Rows) -> bytes:
    objects = ({key: value or None for key, value in row.items()} for row in rows)
    return "".join(f"{json.dumps(one)}\n" for one in objects).encode()


def as_workbook(rows: Rows) -> bytes:
    return written("xlsx", [list(rows[0]), *([value or None for value in row.values()] for row in rows)])
