"""What a flow version says of its source: where it is and how it is written. Pure."""

from attrs import frozen

from lume_local._flow.fields import FlowError, Table
from lume_local._flow.places import check_placeholders

_LINE_BYTES = 2_000_000
_MOST_LINE_BYTES = 64_000_000


@frozen
class Source:
    """How a source file is found and read."""

    format: str
    uri: str
    delim: str
    quote: str
    escape: str
    encoding: str
    max_line_bytes: int


def read_source(table: Table) -> Source:
    """The table `[source]`. Raises `FlowError`."""
    csv = table.table("csv")
    source = Source(
        format=table.choice("format", ("csv", "ndjson"), default="csv"),
        uri=table.text("uri", default="{source_path}", longest=4096),
        delim=csv.text("delim", default=",", longest=1),
        quote=csv.text("quote", default='"', longest=1),
        escape=csv.text("escape", default="", longest=1),
        encoding=csv.text("encoding", default="utf-8", longest=40),
        max_line_bytes=table.count("max_line_bytes", default=_LINE_BYTES),
    )
    table.no_more()
    csv.no_more()
    if source.format != "csv" and "csv" in table.values:
        raise FlowError("source.csv", f"has no meaning for format {source.format!r}: remove it")
    if not 1 <= source.max_line_bytes <= _MOST_LINE_BYTES:
        raise FlowError("source.max_line_bytes", f"must be a whole number from 1 to {_MOST_LINE_BYTES:,}")
    _check_dialect(source)
    check_placeholders("source.uri", source.uri, ("source_path",))
    return source


def _check_dialect(source: Source) -> None:
    """Refuse what no file can be read with: better now than in the first run."""
    if not source.delim or not source.delim.isascii() or source.delim in "\r\n" + source.quote:
        raise FlowError("source.csv.delim", "must be one ASCII character, not the quote and not a line end")
    if not source.quote.isascii() or source.quote.isspace():
        raise FlowError("source.csv.quote", "must be one ASCII character and no space, or empty for none")
    if not source.escape.isascii() or source.escape.isspace():
        raise FlowError("source.csv.escape", "must be one ASCII character and no space")
    if source.escape == source.delim:
        raise FlowError("source.csv.escape", "is the delimiter: within quotes it would end the field")
    if source.escape and not source.quote:
        raise FlowError("source.csv.escape", "has no meaning without a quote: remove one of the two")
    try:
        "a".encode(source.encoding)
    except (LookupError, UnicodeError):
        raise FlowError("source.csv.encoding", f"{source.encoding!r} is not an encoding: try utf-8") from None
