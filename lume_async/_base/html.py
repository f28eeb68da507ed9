"""Small HTML tables for notebooks, with every value escaped. Pure."""

from collections.abc import Iterable, Sequence


def facts(title: str, pairs: Iterable[tuple[str, object]]) -> str:
    """Return a table of names and values; pairs without a value are omitted."""
    lines = [
        f"<tr><th style='text-align:left'>{_safe(name)}</th><td style='text-align:left'>{_safe(value)}</td></tr>"
        for name, value in pairs
        if value not in (None, "")
    ]
    return f"<div><strong>{_safe(title)}</strong><table>{''.join(lines)}</table></div>"


def table(title: str, head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    top = "".join(f"<th style='text-align:left'>{_safe(name)}</th>" for name in head)
    body = "".join(
        "<tr>" + "".join(f"<td style='text-align:left'>{_safe(cell)}</td>" for cell in row) + "</tr>"
        for row in rows
    )
    return f"<div><strong>{_safe(title)}</strong><table><tr>{top}</tr>{body}</table></div>"


def _safe(value: object) -> str:
    from html import escape  # on first use: only notebooks need it

    return escape("" if value is None else str(value))
