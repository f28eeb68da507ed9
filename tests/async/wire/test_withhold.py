"""A text that repeats the API key is withheld, however the key is written in it."""

import base64
import html
import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lume_async._base.secret import Secret
from lume_async._wire.withhold import SHORTEST_PART, WITHHELD, redact, repeats

KEY = Secret('sk/live+"5f2C9E"=&<X>')

WRITTEN = {
    "as it is": KEY,
    "upper case": KEY.upper(),
    "percent": quote(KEY, safe=""),
    "percent, lower case": quote(KEY, safe="").lower(),
    "percent, every byte": "".join(f"%{ord(letter):02X}" for letter in KEY),
    "form": quote_plus(KEY),
    "JSON": json.dumps(KEY),
    "JSON, PHP": json.dumps(KEY).replace("/", r"\/"),
    "JSON, every letter": "".join(f"\\u{ord(letter):04X}" for letter in KEY),
    "JSON in JSON": json.dumps(json.dumps({"key": quote(KEY, safe="")})),
    "JSON in JSON, every letter": "".join(f"\\\\u{ord(letter):04x}" for letter in KEY),
    "JSON, a capital letter": json.dumps(KEY).replace("C", r"\u0043"),
    "percent, twice": quote(quote(KEY, safe=""), safe=""),
    "broken by a line end": KEY[:9] + "\r\n  " + KEY[9:],
    "broken by a line end in JSON": json.dumps(KEY[:9] + "\n" + KEY[9:]),
    "broken by what is not seen": KEY[:9] + "\u200b\0" + KEY[9:],
    "broken by what is not seen, in JSON": json.dumps(KEY[:9] + "\u200b\0" + KEY[9:]),
    "HTML": html.escape(KEY),
    "HTML, numbers": "".join(f"&#{ord(letter)};" for letter in KEY),
    "Base64": base64.b64encode(KEY.encode()).decode(),
    "Base64, URL-safe": base64.urlsafe_b64encode(KEY.encode()).decode(),
    "Base64 of a header": base64.b64encode(b"lume-api-key: " + KEY.encode() + b"\r\n").decode(),
    "Base64 of a pair": base64.b64encode(b"u:" + KEY.encode()).decode(),
    "Base64 in lines": base64.encodebytes(KEY.encode() * 4).decode(),
    "Base64, upper case": base64.b64encode(KEY.encode()).decode().upper(),
}


@pytest.mark.parametrize("written", WRITTEN.values(), ids=WRITTEN)
@pytest.mark.parametrize(("before", "after"), [("", ""), ("the key ", " is not valid"), ("\0\xff", "\r\n")])
def test_every_way_to_write_the_key_is_noticed(written: str, before: str, after: str) -> None:
    assert redact(before + written + after, KEY) == WITHHELD


@pytest.mark.parametrize(
    "text", ["", "the key is not valid", "sk/live", "5f2C9E", "=&<X>", "\ud800", "%", "\\u00"]
)
def test_what_does_not_repeat_the_key_is_shown(text: str) -> None:
    assert redact(text, KEY) == text


def test_a_text_that_was_cut_may_end_in_the_middle_of_the_key() -> None:
    for length in range(SHORTEST_PART, len(KEY)):
        text = b"x" * 100 + KEY[:length].encode()
        assert repeats(text, KEY, cut=True)
        assert not repeats(text, KEY)


def test_without_a_key_or_with_one_that_is_a_common_word_everything_is_shown() -> None:
    assert redact("a test", None) == "a test"
    assert redact("a test", Secret("test")) == "a test"


@given(
    key=st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=8, max_size=60),
    before=st.binary(max_size=20),
    after=st.binary(max_size=20),
    write=st.sampled_from(
        [str.encode, lambda key: quote(key).encode(), lambda key: json.dumps(key).encode()]
    ),
)
def test_no_key_passes_in_any_surroundings(key: str, before: bytes, after: bytes, write) -> None:  # type: ignore[no-untyped-def]
    assert repeats(before + b" " + write(key) + b" " + after, Secret(key))


@given(
    key=st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=8, max_size=60),
    before=st.binary(max_size=20),
    after=st.binary(max_size=20),
)
def test_no_key_passes_in_base64(key: str, before: bytes, after: bytes) -> None:
    assert repeats(base64.b64encode(before + key.encode() + after), Secret(key))
