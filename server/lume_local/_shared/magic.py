"""Recognizes binary files by their first bytes (magic numbers), as `file` does. Pure."""

import re

LENGTH = 264
"""The number of bytes needed to recognize a file."""

ZIP = "a ZIP archive (such as .xlsx, .docx, .ods)"
OLE = "an old Office document (such as .xls, .doc)"
PARQUET = "a Parquet file"
GZIP = "a gzip file"
ZSTD = "a zstd file"
BZIP2 = "a bzip2 file"
XZ = "an xz file"
XML = "an XML document"
HTML = "an HTML page"
TAR = "a tar archive"
SEVEN_ZIP, RAR = "a 7z archive", "a RAR archive"
AVRO, ARROW, SQLITE = "an Avro file", "an Arrow file", "an SQLite database"
MIME = "a web archive or mail (such as .mht, .eml)"

_KINDS = (
    ("a PDF document", rb"%PDF-"),
    (ZIP, rb"PK(\x03\x04|\x05\x06)"),
    (OLE, rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
    (PARQUET, rb"PAR1\x15"),  # without \x15 it could be the name of a column
    (GZIP, rb"\x1f\x8b"),
    (ZSTD, rb"\x28\xb5\x2f\xfd"),
    (BZIP2, rb"BZh[1-9]1AY&SY"),
    (XZ, rb"\xfd7zXZ\x00"),
    (SEVEN_ZIP, rb"7z\xbc\xaf\x27\x1c"),
    (RAR, rb"Rar!\x1a\x07"),
    (SQLITE, rb"SQLite format 3\x00"),
    (AVRO, rb"Obj\x01"),
    (ARROW, rb"ARROW1\x00"),
    ("an RTF document", rb"\{\\rtf"),
    (HTML, rb"(\xef\xbb\xbf)?\s*(?i:<!doctype html|<html)[\s>]"),
    (XML, rb"(\xef\xbb\xbf)?<\?xml\s"),
    ("a PNG image", rb"\x89PNG\r\n"),
    ("a JPEG image", rb"\xff\xd8\xff"),
    ("a GIF image", rb"GIF8[79]a"),
    ("a program", rb"\x7fELF|MZ\x90\x00"),
    (TAR, rb"(?s:.{257}ustar)"),
    (MIME, rb"(?i:MIME-Version:)"),
)
_COMPILED = tuple((name, re.compile(pattern)) for name, pattern in _KINDS)


def kind_of(head: bytes) -> str | None:
    """Return the kind of a file that begins with `head`, with its article; None if it may be text."""
    return next((name for name, pattern in _COMPILED if pattern.match(head)), None)
