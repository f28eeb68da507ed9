"""Write the tables behind the cleaners of flow expressions; `--check` only compares.

python server/tools/cleaner_tables.py [--check]

Names of countries and months come from Babel (Unicode CLDR), numbering plans from phonenumbers (libphonenumber).
Both are pinned in pyproject.toml: one version, one output.
"""

import json
import re
import sys
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from babel import Locale, UnknownLocaleError
from babel.core import get_global
from babel.languages import get_official_languages
from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "lume_local" / "_worker" / "cleaners" / "tables"
LANGUAGES = ["en", "de", "fr", "es", "it", "pt", "nl", "pl", "cs", "sv", "da", "nb", "fi"]
NO_COUNTRIES = {"AC", "CP", "CQ", "DG", "EA", "EU", "EZ", "IC", "QO", "TA", "UN", "XA", "XB", "ZZ"}
"""Codes that CLDR has beyond ISO 3166-1; XK (Kosovo) is kept, as it is in general use."""
ALIASES = {
    "AE": ["UAE"],
    "CD": ["DR Congo", "Democratic Republic of the Congo", "Congo"],  # as in CG: ambiguous
    "CG": ["Republic of the Congo"],
    "CI": ["Ivory Coast"],
    "CV": ["Cape Verde"],
    "CZ": ["Czech Republic", "Tschechische Republik"],
    "GB": [
        "UK",
        "U.K.",
        "Great Britain",
        "Großbritannien",
        "England",
        "Scotland",
        "Wales",
        "Northern Ireland",
    ],
    "HK": ["Hong Kong", "Hongkong"],
    "IR": ["Islamic Republic of Iran"],
    "KP": ["DPRK", "Korea"],
    "KR": ["Republic of Korea", "Korea"],
    "LA": ["Lao PDR"],
    "MK": ["Macedonia"],
    "MM": ["Burma", "Myanmar"],
    "MO": ["Macau", "Macao"],
    "NL": ["Holland", "The Netherlands"],
    "PS": ["Palestine"],
    "RU": ["Russian Federation"],
    "SY": ["Syrian Arab Republic"],
    "SZ": ["Swaziland"],
    "TL": ["East Timor"],
    "TR": ["Turkey"],
    "TZ": ["United Republic of Tanzania"],
    "US": ["USA", "U.S.", "U.S.A.", "United States of America", "America"],
    "VA": ["Holy See", "Vatican"],
    "VN": ["Viet Nam"],
}
WEEKDAYS = {
    "1": ["segunda"],
    "2": ["tues", "terca"],
    "3": ["weds", "quarta"],
    "4": ["thur", "thurs", "quinta"],
    "5": ["sexta"],
}
"""Names that CLDR lacks."""


def country_key(name: str) -> str:
    """Return the key that `country_code` makes in SQL: lower case, without accents, marks and a leading "the"."""
    words = re.sub(r"[^\w ]|_", " ", _plain(name))
    return re.sub(r"^the ", "", re.sub(r" +", " ", words).strip())


def month_key(name: str) -> str:
    """Return the key that `parse_date_any` makes in SQL: lower case, without accents and an abbreviation's point."""
    return _plain(name).rstrip(".").strip()


def _plain(name: str) -> str:
    decomposed = unicodedata.normalize("NFD", name.lower())
    bare = "".join(letter for letter in decomposed if not unicodedata.combining(letter))
    return unicodedata.normalize("NFC", bare)


def countries() -> dict[str, list[str]]:
    """Return each code with its country's names in `LANGUAGES` and its own, and with its other two codes."""
    found = defaultdict(set)
    known = [
        code for code in map(str, Locale("en").territories) if len(code) == 2 and code not in NO_COUNTRIES
    ]
    for code in known:
        for language in (*LANGUAGES, *get_official_languages(code, de_facto=True)):
            if name := _territories(language).get(code):
                found[code].add(country_key(name))
    for other, codes in get_global("territory_aliases").items():
        if len(other) == 3 and len(codes) == 1 and codes[0] in found and other not in ("SUN", "YUG"):
            found[codes[0]].add(country_key(other))
    for code, names in ALIASES.items():
        found[code] |= {country_key(name) for name in names}
    return _certain(
        {code: {code.lower(), *names} for code, names in found.items()}, firm=set(map(str.lower, known))
    )


def _territories(language: str) -> dict[str, str]:
    try:
        return {str(code): name for code, name in Locale.parse(language).territories.items()}
    except UnknownLocaleError:
        return {}


def months() -> dict[str, list[str]]:
    """Return each month's number with its names, in `LANGUAGES`."""
    found = defaultdict(set)
    for language in LANGUAGES:
        for context in Locale(language).months.values():
            for width in ("wide", "abbreviated"):
                for number, name in context.get(width, {}).items():
                    found[str(number)].add(month_key(name))
    return _certain(
        {number: {name for name in names if not name.isdigit()} for number, names in found.items()}
    )


def weekdays() -> dict[str, list[str]]:
    """Return each weekday's number, from Monday, with its single-word names in `LANGUAGES`."""
    found = defaultdict(set)
    for language in LANGUAGES:
        for context in Locale(language).days.values():
            for names in context.values():
                for number, name in names.items():
                    found[str(number + 1)].add(month_key(name))
    for number, names in WEEKDAYS.items():
        found[number].update(names)
    return {
        number: sorted(name for name in found[number] if name.isalpha() and len(name) > 1)
        for number in sorted(found)
    }


def _certain(found: dict[str, set[str]], firm: Iterable[str] = ()) -> dict[str, list[str]]:
    """Return the table without ambiguous names; a name in `firm` means only the key that equals it."""
    meant = defaultdict(set)
    for key, names in found.items():
        for name in names - {""}:
            meant[name].add(key)
    for name in firm:
        meant[name] = {name.upper()}
    return {
        key: sorted(name for name in names - {""} if meant[name] == {key})
        for key, names in sorted(found.items(), key=lambda item: item[0].zfill(2))
    }


def phones() -> dict[str, Any]:
    """Return each country's `calling code|national prefix|international prefix`, and one pattern for all numbers."""
    plans, patterns = {}, []
    for calling, regions in sorted(COUNTRY_CODE_TO_REGION_CODE.items()):
        shapes: dict[str, None] = {}
        for region, data in _plans(calling, regions):
            assert data.general_desc is not None
            shapes[str(data.general_desc.national_number_pattern).replace("(?:", "(")] = None
            if region != "001":
                going = str(data.preferred_international_prefix or data.international_prefix).replace("~", "")
                away = going if going.isdigit() else "00"
                plans[region] = f"{calling}|{data.national_prefix or ''}|{away}"
        patterns.append(f"{calling}({'|'.join(shapes)})")
    return {"plans": dict(sorted(plans.items())), "pattern": rf"\+({'|'.join(patterns)})"}


def _plans(calling: int, regions: tuple[str, ...]) -> Iterator[tuple[str, PhoneMetadata]]:
    for region in regions:
        if region == "001":
            data = PhoneMetadata.metadata_for_nongeo_region(calling)
        else:
            data = PhoneMetadata.metadata_for_region(region)
        assert data is not None
        yield region, data


def built() -> dict[Path, str]:
    """Return the expected content of the files."""
    unicode = f"Babel {version('babel')}, which has them from the Unicode CLDR (Unicode License v3)"
    numbers = f"phonenumbers {version('phonenumbers')}, a port of libphonenumber (Apache 2.0)"
    tables: dict[str, dict[str, Any]] = {
        "countries": {"from": unicode, "names": countries()},
        "currencies": {"from": unicode, "codes": sorted(Locale("en").currencies)},
        "months": {"from": unicode, "names": months()},
        "weekdays": {"from": unicode, "names": weekdays()},
        "phones": {"from": numbers, **phones()},
    }
    return {FOLDER / f"{name}.json": _lines(table) for name, table in tables.items()}


def _lines(table: dict[str, Any]) -> str:
    """Return JSON with one entry per line, so that a new version of a source has a readable diff."""
    parts = []
    for key, value in table.items():
        if isinstance(value, dict):
            entries = ",\n".join(
                f"  {json.dumps(k)}: {json.dumps(v, ensure_ascii=False)}" for k, v in value.items()
            )
            parts.append(f" {json.dumps(key)}: {{\n{entries}\n }}")
        else:
            parts.append(f" {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def main() -> int:
    """Write or compare; return 1 if files differ."""
    stale = [path for path, text in built().items() if not path.exists() or path.read_text("utf-8") != text]
    if "--check" in sys.argv[1:]:
        for path in stale:
            sys.stderr.write(f"{path} is out of date: python server/tools/cleaner_tables.py\n")
        return 1 if stale else 0
    for path in stale:
        path.write_text(built()[path], "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
