"""Withholds strings in which a server repeats the API key, or a proxy its password. Pure.

The whole text is withheld: masking the key would have to find every encoding of it, not just one.
"""

import base64
import re
from functools import lru_cache
from urllib.parse import unquote_to_bytes

from lume_async._base.secret import Secret

WITHHELD = "[withheld: it repeats the API key or a proxy's password]"

SHORTEST_KEY = 8
"""Shorter keys exist only in tests, and words like "test" occur in responses for other reasons."""

SHORTEST_PART = 4
"""The shortest beginning of a key that counts as the key at the end of a cut text."""

NESTED = 2
"""How often a text is decoded, for nested JSON and URLs that were quoted twice."""

_JSON_ESCAPE = re.compile(rb"\\(?:u([0-9a-f]{4})|(.))", re.DOTALL)
_JSON_CONTROLS = b"bfnrt"
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_GAPS = bytes({*range(256)} - {*range(0x21, 0x7F)})
"""Bytes that are not in a key (except spaces); a key in a text may be interrupted by them."""


def redact(text: str, *secrets: Secret | None) -> str:
    """Return the text, or `WITHHELD` if it repeats a secret."""
    return WITHHELD if repeats(text.encode("utf-8", "surrogatepass"), *secrets) else text


def repeats(text: bytes, *secrets: Secret | None, cut: bool = False) -> bool:
    r"""Return whether a secret occurs in a text: plain, percent-, HTML-, JSON- or Base64-encoded, in any case.

    JSON has several spellings: PHP writes `\/` for a slash, .NET `\u002B` for a plus.

    Args:
        cut: whether the text may have been cut in the middle of a secret.
    """
    wanted = [_spellings(each) for each in secrets if each is not None and len(each) >= SHORTEST_KEY]
    if not wanted:
        return False
    ways = {text.lower()}
    for _ in range(NESTED):
        # In lower case after each step: an escape may encode a capital letter.
        ways |= {undo(way).lower() for way in ways for undo in (_from_json, unquote_to_bytes, _from_html)}
    ways = {way.translate(None, _GAPS) for way in ways}
    return any(_occurs(plain, encoded, way, cut) for plain, encoded in wanted for way in ways)


def _occurs(plain: bytes, encoded: tuple[bytes, ...], text: bytes, cut: bool) -> bool:
    if plain in text or any(core in text.translate(_URL_SAFE) for core in encoded):
        return True
    return cut and any(text.endswith(plain[:length]) for length in range(SHORTEST_PART, len(plain)))


@lru_cache(24)  # up to three per client; keys rotate
def _spellings(key: Secret) -> tuple[bytes, tuple[bytes, ...]]:
    """Return the key in lower case without spaces, and the constant part of its Base64 at each of three offsets."""
    plain = key.encode()
    cores = []
    for offset in range(3):
        # The first and the last letters depend on the text around the key.
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
    import html  # a large module, needed only for errors

    return html.unescape(text.decode("latin-1")).encode("utf-8", "replace")
