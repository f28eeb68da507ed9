"""Splitting CSV byte by byte and state by state: what the engine's grammar is held against."""

from collections.abc import Iterator

from attrs import frozen

ROW_ENDS = b"\r\n"


@frozen
class Row:
    """A record, by its fields' values."""

    line: int
    values: list[str]


@frozen
class Bad:
    """What is no record: its line, why, its bytes."""

    line: int
    why: str
    raw: bytes


@frozen
class Dialect:
    delim: str = ","
    quote: str = '"'
    escape: str = ""

    def bytes_of(self) -> tuple[int, int, int]:
        """Delimiter, quote and escape; -1 for none."""
        delim, quote = ord(self.delim), ord(self.quote) if self.quote else -1
        return delim, quote, ord(self.escape) if self.escape else quote


def count_ends(data: bytes) -> int:
    """Line ends."""
    return data.count(b"\n") + data.count(b"\r") - data.count(b"\r\n")


def count_lines(data: bytes) -> int:
    """Physical lines, one without an end at the end included."""
    return count_ends(data) + (data != b"" and data[-1] not in ROW_ENDS)


def end_of_line(data: bytes, at: int) -> tuple[int, int]:
    """Where the physical line that `at` is in ends, and where the next one begins."""
    end = at
    while end < len(data) and data[end] not in ROW_ENDS:
        end += 1
    return end, end + (2 if data[end : end + 2] == b"\r\n" else 1 if end < len(data) else 0)


def one_record(data: bytes, at: int, dialect: Dialect) -> tuple[list[bytes], int] | None:
    """The values of the record that begins at `at`, and where its line end is. None where the quotes are broken."""
    delim, quote, escape = dialect.bytes_of()
    fields, value, state = [], bytearray(), "start"
    while True:
        byte = data[at] if at < len(data) else None
        if state == "inside":
            following = data[at + 1] if at + 1 < len(data) else None
            if byte is None:
                return None
            if byte == escape and following in (quote, escape):
                value.append(following)
                at += 1
            elif byte == quote:
                state = "closed"
            elif byte == escape:
                return None
            else:
                value.append(byte)
        elif byte is None or byte in ROW_ENDS or byte == delim:
            fields.append(bytes(value))
            value.clear()
            if byte != delim:
                return fields, at
            state = "start"
        elif byte == quote:
            if state != "start":
                return None
            state = "inside"
        elif state == "closed":
            return None
        else:
            value.append(byte)
            state = "plain"
        at += 1


def records(data: bytes, at: int, dialect: Dialect, columns: int) -> Iterator[Row | Bad]:
    """Everything from `at` on."""
    line, counted = 1, 0
    while at < len(data):
        line, counted = line + count_ends(data[counted:at]), at
        end, following = end_of_line(data, at)
        if end == at and columns > 1:
            at = following
            continue
        found = one_record(data, at, dialect)
        if found is not None and len(found[0]) == columns:
            raw = data[at : found[1]]
            if is_text(raw):
                yield Row(line, [value.decode() for value in found[0]])
            else:
                yield Bad(line, "not valid UTF-8", raw)
            at = end_of_line(data, found[1])[1]
            continue
        raw = data[at:end]
        if not is_text(raw):
            why = "not valid UTF-8"
        elif found is None:
            why = "broken quotes"
        else:
            why = f"too {'few' if len(found[0]) < columns else 'many'} columns"
        yield Bad(line, why, raw)
        at = following


def is_text(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True
