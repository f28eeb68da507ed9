"""Recognizes the encoding of a sample file, or names those that fit.

A text that is neither UTF-8 nor UTF-16 is judged by `chardet`, which knows the letters that follow each other in each
language. It is asked only about values with letters beyond ASCII, since the others dilute its judgement, and these
must look like words. Its choice counts only with enough text: a word or two may make sense in several languages.
"""

# ruff: noqa: RUF001, SIM905 - quotes and dashes as people type them; lists of these would take a screen.
import codecs
import re
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache

from attrs import frozen

from lume_async._base.elided import elided
from lume_async._base.words import counted, listed
from lume_async.errors import ConfigurationError
from lume_local._samples.raw import RawFile, no_text

_BLOCKS, _BLOCK = 64, 1024 * 1024
"""Parts of a file that are read to find its encoding: their number, and their size in bytes."""
_START = 64 * 1024
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # starts with the mark of UTF-16
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_BETWEEN = re.compile(rb"[,;\t\r\n\"]+")
"""Never a part of a letter in an encoding with several bytes for one, which `|` may be."""
_LONGEST, _ENOUGH = 200, 20_000
"""Bytes of a value, and of all, that are judged."""
_CONTROLS = re.compile(rb"[\0-\x08\x0e-\x1a\x1c-\x1f]")
_BINARY = 0.01
"""The share of control characters above which a file is not a text."""

_KNOWN = {
    **{name: name for name in (
        "cp1252 iso8859-15 cp1250 cp1251 cp932 gb18030 cp949 cp850 iso8859-2 cp1253 cp1254 cp1257 cp1255 cp1256 "
        "cp852 cp437 koi8-r cp866 iso8859-7 iso8859-5 koi8-u cp855 cp857 cp775 cp737 cp862 cp869 cp1258 "
        "iso8859-6 iso8859-13 johab kz1048"
    ).split()},
    "euc_jis_2004": "euc_jp", "big5hkscs": "cp950", "tis-620": "cp874",
    "mac-roman": "mac_roman", "mac-cyrillic": "mac_cyrillic",
}  # fmt: skip
"""The names of encodings by those that `chardet` gives them; of those with the same reading the first is named."""
_MARGINS = ((16, 0.85), (9, 0.6), (5, 0.5), (3, 0.4), (2, 0.2), (1, 0.0))
"""From so many values on, a reading is clear if the next best has less than this share of its merit."""
_STEEP = 5
"""How much values that don't look like words count: the power of the share of those that do."""
_LEAST, _NONE = 0.001, 0.0002
"""The merit of a reading that may be clear, and of one that can be ruled out."""
_WORDS = re.compile(r"[^\W\d_]+(?:’[^\W\d_]+)*")
_WORD, _SIGNS = 3, re.compile(r"\d ?[€£]|[€£] ?\d|[^\W\d_][®©]|\d–\d")
"""The fewest letters, in words beyond ASCII, of a value that alone shows the encoding, and what is clear without."""
_ALPHABETS = tuple(
    frozenset(letters)
    for letters in (
        "äöüßé àâæçéèêëîïôœùûüÿ áéíñóúü àáâãçéêíóôõúü àèéìíîòóùú áèéêëïóöü àçèéíïòóúü åäöéü åæøéòóô áðéíóúýþæö "
        "äõöüšž çëé ąćęłńóśźż áčďéěíňóřšťúůýž áäčďéíĺľňóôŕšťúýž áéíóöőúüű ăâîșțşţ čćđšž çğıi\u0307öşüâî ąčęėįšųūž "
        "āčēģīķļņšūž абвгдеёжзийклмнопрстуфхцчшщъыьэюя абвгґдеєжзиіїйклмнопрстуфхцчшщьюя "
        "абвгдеёжзійклмнопрстуўфхцчшыьэюя абвгдђѓежзѕијќклљмнњопрстћуфхцчџш αβγδεζηθικλμνξοπρσςτυφχψωάέήίόύώϊϋΐΰ"
    ).split()
)
"""The letters beyond ASCII of languages that share their encodings with others."""
_SHOWN, _CONTEXT = 4, 15
"""Readings of a message, and the letters before and behind what differs."""

_EAST = frozenset({"CJK", "HANGUL"})
_AFTER, _BEFORE = frozenset("®™©°ºª²³½»”“’…–—€£›%‰"), frozenset("¿¡“‘„–—€£…§±½«‹")
"""Signs that may follow or precede a letter."""
_USUAL = _AFTER | _BEFORE | frozenset("¼¾µ·•×÷«»‘¥")
_JOINS = frozenset("’·‐‑–")
"""Signs that may stand between letters."""


def encoding_of(sample: RawFile) -> tuple[str, list[str]]:
    """Return the encoding of a text file, and what to check about it.

    Raises:
        ConfigurationError: it is not a text, or its encoding is not clear.
    """
    with sample.open() as file:
        start = first = file.read(_BLOCK)
        marked = next((encoding for mark, encoding in _MARKS if start.startswith(mark)), "")
        if marked:
            return marked, []
        if wide := _without_mark(start[:_START]):
            return wide, [
                f"read as {wide}, though it has no byte order mark: if that is wrong, set its encoding"
            ]
        bad, beyond = 0, 0
        utf8 = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        for _ in range(_BLOCKS):
            text = utf8.decode(start, final=not start)
            if not text.isascii():
                bad += sum("\udc80" <= letter <= "\udcff" for letter in text)
                beyond += sum(letter > "\x7f" for letter in text)
            if not start:
                break
            start = file.read(_BLOCK)
    if (bad or b"\0" in first) and len(_CONTROLS.findall(first)) > _BINARY * len(first):
        raise no_text(sample, "a binary file")
    if not bad:
        return "utf-8", []
    if beyond - bad >= bad:
        return "utf-8", [
            f"most of it is UTF-8, but {counted(bad, 'byte is', 'bytes are')} not, whose lines are rejected; if "
            "another one is meant, set its encoding"
        ]
    found = recognized(_values(sample), sample.name)
    shown = next(value for value in found.values if not value.isascii())
    alike = f" ({listed(found.others, 3, str)} would read the sample alike)" if found.others else ""
    return found.encoding, [
        f"it is not UTF-8, and read as {found.encoding}{alike}, where a value is {elided(shown, 60)!r}: if that "
        "looks wrong, set its encoding"
    ]


def _without_mark(start: bytes) -> str:
    """Return the kind of UTF-16 of a text without a mark: only there NUL is a part of letters, such as a line end."""
    for encoding in ("utf-16-le", "utf-16-be") if b"\0" in start else ():
        with suppress(UnicodeDecodeError):
            text = codecs.getincrementaldecoder(encoding)().decode(start)
            if "\n" in text and all(map(_is_text, {*text})):
                return encoding
    return ""


def _is_text(letter: str) -> bool:
    return letter in "\t\r\n" or unicodedata.category(letter) not in ("Cc", "Cn", "Co", "Cs")


def _values(sample: RawFile) -> list[bytes]:
    """Return the first distinct values with bytes beyond ASCII."""
    found: dict[bytes, None] = {}
    size, rest = 0, b""
    with sample.open() as file:
        for _ in range(_BLOCKS):
            block = file.read(_BLOCK)
            *lines, rest = (rest + block).split(b"\n")
            for line in lines if block else [rest]:
                for value in _pieces(line):
                    if value not in found and size < _ENOUGH:
                        found[value] = None
                        size += len(value)
            if not block or size >= _ENOUGH:
                break
    return list(found)


def _pieces(line: bytes) -> Iterator[bytes]:
    """Yield the values of a line, or the words of long ones, that have bytes beyond ASCII."""
    for value in _BETWEEN.split(line) if not line.isascii() else ():
        for piece in [value] if len(value) <= _LONGEST else value.split(b" "):
            if len(piece) <= _LONGEST and not piece.isascii():
                yield piece


@frozen
class Decoded:
    """Values as an encoding reads them.

    Attributes:
        others: the names of encodings that read the same.
        merit: how well they fit a language.
    """

    encoding: str
    others: list[str]
    values: list[str]
    merit: float


def recognized(values: Sequence[bytes], name: str) -> Decoded:
    """Return the reading of values that are not UTF-8, each with a byte beyond ASCII.

    Raises:
        ConfigurationError: several readings are possible, or none.
    """
    found = decodings(values) if values else []
    if not found:
        raise ConfigurationError(
            f"{name} is not UTF-8, nor in an encoding that is recognized: set its encoding, the one that it "
            "was saved in"
        )
    best, *others = found
    share = next(share for count, share in _MARGINS if len(values) >= count)
    rivals = [one for one in others if one.merit >= share * best.merit]
    is_eastern = any(_kind(letter) in _EAST for letter in "".join(best.values))
    letters = sum(len(word) for value in best.values for word in _WORDS.findall(value) if not word.isascii())
    has_signs = best.encoding == "cp1252" and _SIGNS.search(best.values[0]) is not None
    is_enough = has_signs or (
        letters >= _WORD * min(len(values), 2) and not (is_eastern and len(values) == 1)
    )
    if not rivals and is_enough and best.merit >= _LEAST:
        return best
    shown = _candidates([best, *(rivals or others)])
    why = "it is not clear which encoding it has" if others else "has few letters that show its encoding"
    raise ConfigurationError(f"{name} is not UTF-8, and {why}: set its encoding, such as {shown}")


def _candidates(found: Sequence[Decoded]) -> str:
    """Return the encodings to choose from, each with what it makes of the first letters that differ."""
    lines = ["\n".join(one.values) for one in found]
    at = next((n for n, seen in enumerate(zip(*lines, strict=False)) if len({*seen}) > 1), 0)
    before = max((min(line.rfind("\n", 0, at) + 1 for line in lines)), at - _CONTEXT)
    options = [
        f"{one.encoding} for {line[before : at + _CONTEXT].partition(chr(10))[0]!r}"
        for one, line in zip(found, lines, strict=True)
    ]
    return listed(options, _SHOWN, str)


def decodings(values: Sequence[bytes]) -> list[Decoded]:
    """Return the possible readings of values, the best first."""
    data = b"\n".join(values)
    merits = _merits(data)
    same: dict[str, list[str]] = {}
    for known, usual in _KNOWN.items():
        for name in dict.fromkeys((usual, known)):  # the usual one, or else the wider one
            with suppress(UnicodeDecodeError):
                text = data.decode(name)
                same.setdefault(text, []).append(name)
                # Capitals of one encoding are small letters of another, and `chardet` knows only the latter.
                words = [word for word in _WORDS.findall(text) if not word.isascii()]
                is_capitals = bool(words) and all(map(str.isupper, words))
                of_text = _merits(text.lower().encode(name, "replace")) if is_capitals else merits
                merits[name] = of_text.get(known, 0.0)
                break
    possible = {
        text: (names, merit)
        for text, names in same.items()
        if (merit := max(merits[name] for name in names)) > _NONE
    }
    shares = {text: _strange(text.split("\n")) / len(values) for text in possible}
    least = min(shares.values(), default=0.0)
    made = [
        Decoded(name, others, text.split("\n"), merit * max(1 - shares[text] + least, 0.0) ** _STEEP)
        for text, ((name, *others), merit) in possible.items()
    ]
    return sorted((one for one in made if one.merit > _NONE), key=lambda one: -one.merit)


def _merits(data: bytes) -> dict[str, float]:
    """Return how well a text fits the languages of each encoding."""
    import chardet  # not needed for most files

    found = chardet.detect_all(
        data, ignore_threshold=True, include_encodings=list(_KNOWN), compat_names=False, max_bytes=len(data)
    )
    return {str(one["encoding"]): one["confidence"] for one in found}


def _strange(values: Sequence[str]) -> int:
    """Count the values that don't look like words, or not of the language of the others."""
    used = [_letters(value) for value in values if not is_strange(value)]
    return len(values) - max(sum(letters <= alphabet for letters in used) for alphabet in _ALPHABETS)


def _letters(value: str) -> frozenset[str]:
    """Return the letters beyond ASCII of scripts with several alphabets."""
    return frozenset(
        letter
        for letter in value.lower()
        if not letter.isascii() and _kind(letter) in ("LATIN", "CYRILLIC", "GREEK", "COMBINING")
    )


def is_strange(value: str) -> bool:
    """Return whether a value has signs, letters of other scripts or capitals where words have none."""
    kinds = ["", *map(_kind, value), ""]
    letters = ["", *value, ""]
    for n, letter in enumerate(value, 1):
        kind, before, after = kinds[n], kinds[n - 1], kinds[n + 1]
        if kind == "none" or (kind == "sign" and _is_stray(letter, before, after)):
            return True
        if letter.isascii() or not kind.isupper():
            continue
        if kind in _EAST:
            if {before, after} & {"LATIN", "digit"} and sum(one in _EAST for one in kinds) == 1:
                return True
        elif before.isupper() and before not in _EAST:
            previous, following = letters[n - 1], letters[n + 1]
            is_capital = letter.isupper() and (previous.islower() or following.islower())
            is_small = letter.islower() and previous.isupper() and following.isupper()
            if kind != before or is_capital or is_small:
                return True
        elif (after.isupper() and after not in (kind, *_EAST)) or sum(one.isupper() for one in kinds) == 1:
            return True
    return False


def _is_stray(sign: str, before: str, after: str) -> bool:
    """Return whether a sign stands beside a letter where it usually doesn't."""
    if before.isupper():
        return after.isupper() or sign not in _AFTER
    return sign not in (_BEFORE if after.isupper() and before != "digit" else _USUAL)


@cache
def _kind(letter: str) -> str:
    """Return the script of a letter, in capitals, or the kind of another character."""
    category = unicodedata.category(letter)
    if category in ("Cc", "Cf", "Co", "Cn") or "\u2500" <= letter <= "\u259f":  # lines and blocks of a screen
        return "none"
    if category == "Nd":
        return "digit"
    if letter in _JOINS:
        return "join"
    if category[0] in "LM":
        script = "LATIN" if letter.isascii() else unicodedata.name(letter).split()[0].partition("-")[0]
        if script in ("HIRAGANA", "KATAKANA", "IDEOGRAPHIC", "BOPOMOFO"):
            return "CJK"
        is_letter = category != "Lm" and script not in ("FEMININE", "MASCULINE", "MICRO")
        return script if is_letter or script == "CJK" else "sign"
    return "sign" if not letter.isascii() and category[0] in "SNP" else "other"
