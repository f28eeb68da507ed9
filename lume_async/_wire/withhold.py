r"""Servers repeat the API key that they were sent, and proxies a password: such a text is withheld whole. Pure.

Masking only the key would need every way of writing it to be known; to withhold the text needs only to notice one.
"""

import base64
import re
from functools import lru_cache
from urllib.parse import unquote_to_bytes

from lume_async._base.secret import Secret

WITHHELD = "[withheld: it repeats the API key or a proxy's password]"

SHORTEST_KEY = 8
"""Shorter ones are made up for tests, and words like "test" stand in an answer for other reasons."""

SHORTEST_PART = 4
"""From this length on, the beginning of a key at the end of a text that was cut counts as the key."""

NESTED = 2
"""How often a text is decoded: JSON stands in JSON, and a URL is quoted once more."""

_JSON_ESCAPE = re.compile(rb"\\(?:u([0-9a-f]{4})|(.))", re.DOTALL)
_JSON_CONTROLS = b"bfnrt"
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_GAPS = bytes({*range(256)} - {*range(0x21, 0x7F)})
"""What a key has none of, or at most a space; in a text it may be broken by them, and people still read it."""


def shown(text: str, *secrets: Secret | None) -> str:
    """The text, or that it is withheld."""
    return WITHHELD if repeats(text.encode("utf-8", "surrogatepass"), *secrets) else text


def repeats(text: bytes, *secrets: Secret | None, cut: bool = False) -> bool:
    r"""Whether a secret occurs in a text: as it is, percent-, HTML-, JSON- or Base64-encoded, in any case.

    JSON has several spellings: PHP writes `\/` for a slash, .NET `\u002B` for a plus.

    Args:
        cut: whether the text may have been cut in the middle of a secret.
    """
    wanted = [_spellings(each) for each in secrets if each is not None and len(each) >= SHORTEST_KEY]
    if not wanted:
        return False
    ways = {text.lower()}
    for _ in range(NESTED):
        # In lower case after each step: an escape can stand for a capital letter.
        ways |= {undo(way).lower() for way in ways for undo in (_from_json, unquote_to_bytes, _from_html)}
    ways = {way.translate(None, _GAPS) for way in ways}
    return any(_occurs(plain, encoded, way, cut) for plain, encoded in wanted for way in ways)


def _occurs(plain: bytes, encoded: tuple[bytes, ...], text: bytes, cut: bool) -> bool:
    if plain in text or any(core in text.translate(_URL_SAFE) for core in encoded):
        return True
    return cut and any(text.endswith(plain[:length]) for length in range(SHORTEST_PART, len(plain)))


@lru_cache(24)  # up to three per client that sees errors; keys rotate
def _spellings(key: Secret) -> tuple[bytes, tuple[bytes, ...]]:
    """The key in lower case, without spaces, and what its Base64 has in common wherever of three places it begins."""
    plain = key.encode()
    cores = []
    for offset in range(3):
        # The first and the last letters also depend on what stands around the key.
        core = base64.b64encode(b"\0" * offset + plain)[(offset * 8 + 5) // 6 :]
        cores.append(core.rstrip(b"=")[:-1].lower())
    return plain.lower().translate(None, _GAPS), tuple(cores)


def _from_json(text: bytes) -> bytes:
    return _JSON_ESCAPE.sub(_unescaped, text)


def _unescaped(match: "re.Match[bytes]") -> bytes:
    number, letter = match.groups()
    if number is not None:
        return chr(int(number, 16)).encode("utf-8", "replace")
    return b"" if letter in _JSON_CONTROLS else letter


def _from_html(text: bytes) -> bytes:
    import html  # a large table, for errors only

    return html.unescape(text.decode("latin-1")).encode("utf-8", "replace")
