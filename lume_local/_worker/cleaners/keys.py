"""How names are written as keys of a table: `country_code` and `parse_date_any` do the same in SQL. Pure."""

import re
import unicodedata


def country_key(name: str) -> str:
    """A country's name in lower case, without accents, marks and a leading "the"."""
    words = re.sub(r"[^\w ]|_", " ", _plain(name))
    return re.sub(r"^the ", "", re.sub(r" +", " ", words).strip())


def month_key(name: str) -> str:
    """A month's name in lower case, without accents and the point of an abbreviation."""
    return _plain(name).rstrip(".").strip()


def _plain(name: str) -> str:
    decomposed = unicodedata.normalize("NFD", name.lower())
    bare = "".join(letter for letter in decomposed if not unicodedata.combining(letter))
    return unicodedata.normalize("NFC", bare)
