"""`format = "xml"`: elements at a path as records."""

import random
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import pytest
from depth import seeds
from local.one_run import execute
from local.shards.twice import compared

from lume_local._worker.engine import RunFailed

xml = pytest.importorskip("lume_local._worker.sources.formats.xml")
pytest.importorskip("lxml")

SOURCE: dict[str, Any] = {"format": "xml", "xml": {"records": "orders/order"}}
NAMES = ("a", "b-c", "d.e", "x:f", "ä")
TEXTS = ("v", "", " padded\n", "<&>'\"", "é€𝄞", "]]", "two  words", "0")


class Record:
    """A random element, and the texts in it by their paths, written down while it is made."""

    def __init__(self, rng: random.Random) -> None:
        self.rng, self.found = rng, dict[str, str | None]()
        self.text = self.element("order", "", 0)

    def value(self, name: str, text: str, *, always: bool = True) -> None:
        if always or text.strip():
            self.found[name] = text.strip() or None

    def written(self, text: str) -> str:
        """The text as it may stand in a document."""
        rng = self.rng
        if rng.random() < 0.2 and "]]" not in text:
            return f"<![CDATA[{text}]]>"
        parts = [escape(letter) if rng.random() < 0.9 else f"&#{ord(letter)};" for letter in text]
        if rng.random() < 0.2:
            parts.insert(rng.randrange(len(parts) + 1), rng.choice(("<!-- no & text -->", "<?no text?>")))
        return "".join(parts)

    def element(self, tag: str, path: str, depth: int) -> str:
        rng = self.rng
        below, attributes = f"{path}/" if path else "", ""
        for name in rng.sample(("id", "n", "x:k"), rng.randrange(3)):
            text = rng.choice(TEXTS).replace("\n", " ")
            self.value(f"{below}@{name.removeprefix('x:')}", text)
            attributes += f" {name}={quoteattr(text)}"
        children = [rng.choice(NAMES) for _ in range(rng.randrange(4))] if depth < 3 else []
        own = [rng.choice(TEXTS) if rng.random() < 0.3 else rng.choice(("", "\n  ")) for _ in children]
        own.append(rng.choice(TEXTS) if not children or rng.random() < 0.2 else "\n")
        self.value(path or ".", "".join(own), always=bool(path) and not children)
        text, counts = self.written(own[0]), dict[str, int]()
        for child, tail in zip(children, own[1:], strict=True):
            name = child.removeprefix("x:")
            counts[name] = counts.get(name, 0) + 1
            number = f"[{counts[name]}]" if counts[name] > 1 else ""
            text += self.element(child, f"{below}{name}{number}", depth + 1) + self.written(tail)
        return f"<{tag}{attributes}/>" if not text else f"<{tag}{attributes}>{text}</{tag}>"


def document(rng: random.Random) -> tuple[str, list[Record]]:
    records = [Record(rng) for _ in range(rng.randrange(1, 12))]
    text, junk = "", ("", "<!-- <order/> -->", "<head><order/><n>7</n></head>", "words", "<other/>")
    for record in records:
        text += rng.choice(junk) + record.text + rng.choice(("", "\n"))
    return f'<?xml version="1.0"?>\n<orders xmlns:x="urn:x">{text}{rng.choice(junk)}</orders>\n', records


@seeds(20)
def test_texts_are_those_of_the_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """By one worker and by an engine; in pieces of any size."""
    rng = random.Random(seed)
    monkeypatch.setattr(xml, "_PIECE", rng.choice((1, 7, 100, 65536)))
    text, records = document(rng)
    names = list(dict.fromkeys(name for record in records for name in record.found)) or ["none"]
    columns = {f"c{n}": {"sql": '"' + name + '"'} for n, name in enumerate(names)}
    if names == ["none"]:
        columns = {"c0": {"sql": "'x'"}}
    flow = {"columns": columns, "source": SOURCE}
    encoding = rng.choice(("utf-8", "utf-16"))
    content = text.replace("?>", f' encoding="{encoding}"?>', 1).encode(encoding)
    result = execute(tmp_path / "one", content, **flow)
    assert result.metrics["source"]["records"] == len(records)
    if names != ["none"]:
        assert result.mapped == [tuple(map(record.found.get, names)) for record in records]
    compared(tmp_path / "two", [("a.xml", content)], {"url": "here", "shard_bytes": 1}, **flow)


ORDERS = '<orders><order id="1"><c><n>A</n></c></order><order id="x"><c/></order></orders>'
COLUMNS: dict[str, Any] = {"id": {"type": "integer", "from": ["@id"]}, "name": {"from": ["c/n"]}}


@pytest.mark.parametrize("suffix", [".ndjson", ".csv"])
def test_rejects_come_back(tmp_path: Path, suffix: str) -> None:
    flow = {"columns": COLUMNS, "source": SOURCE, "rejects_suffix": suffix}
    first = execute(tmp_path / "a", ORDERS, **flow)
    assert first.mapped == [(1, "A")]
    assert first.metrics["source"]["aliases"] == {"id": ["@id"], "name": ["c/n"]}
    again = execute(
        tmp_path / "b", first.rejects_file.replace(b'"x"', b'"2"').replace(b",x,", b",2,"), **flow
    )
    assert again.mapped == [(2, None)]


def test_a_record_that_is_too_long_is_a_reject(tmp_path: Path) -> None:
    source = SOURCE | {"max_line_bytes": 60}
    text = f'<orders><order id="1"/><order id="2"><c><n>{"y" * 60}</n></c></order></orders>'
    result = execute(tmp_path, text, columns={"id": {"sql": '"@id"'}}, source=source)
    assert (result.mapped, result.reasons) == ([("1",)], ["malformed line: longer than 60 bytes"])


ENTITY = '<!DOCTYPE orders [<!ENTITY a "b">]>'
LAUGHS = (
    '<!DOCTYPE orders [<!ENTITY a0 "ha">'
    + "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))
    + "]>"
)
REFUSED = {
    "a declaration": (f"{ENTITY}{ORDERS}", "has a document type declaration"),
    "a declaration elsewhere": (
        f'<!DOCTYPE orders SYSTEM "http://127.0.0.1:1/x.dtd">{ORDERS}',
        "has a document type declaration",
    ),
    "an entity that is a file": (
        '<!DOCTYPE orders [<!ENTITY a SYSTEM "file:///etc/passwd">]><orders><order>&a;</order></orders>',
        "has a document type declaration",
    ),
    "many laughs": (f"{LAUGHS}<orders><order>&a11;</order></orders>", "amplification|declaration"),
    "laughs in an attribute": (f'{LAUGHS}<orders><order id="&a11;"/></orders>', "amplification|entity"),
    "laughs of parameters": (
        '<!DOCTYPE orders [<!ENTITY % a "x"><!ENTITY % b "%a;%a;">%b;]><orders/>',
        "well-formed|declaration",
    ),
    "an unknown entity": ("<orders><order>&a;</order></orders>", "Entity 'a' not defined, line 1"),
    "an unknown entity at the end": (f"{ORDERS[:-9]}&a;</orders>", "Entity 'a' not defined, line 1"),
    "a huge text": (f"<orders><order>{'x' * 11_000_000}</order></orders>", "too long|huge"),
    "a huge name": (f"<orders><order><{'x' * 100_000}/></order></orders>", "too long|huge|well-formed"),
    "too deep": (f"<orders>{'<order>' * 5000}", "has more than 256 elements within each other"),
    "too wide": (
        "<orders><order " + " ".join(f'a{n}="1"' for n in range(30_000)) + "/></orders>",
        "more than 10,000 elements and attributes with values in orders/order number 1",
    ),
    "an end that is missing": (ORDERS[:-5], "is not well-formed XML: .*line 1"),
    "another end": (ORDERS[:-1] + "x>", "is not well-formed XML: .*line 1"),
    "two roots": (ORDERS * 2, "Extra content"),
    "another encoding": ("<orders><order>\xe4</order></orders>".encode("latin-1"), "encoding|UTF-8"),
    "nothing": ("", "is not well-formed XML"),
    "CSV": ("a,b\n1,2\n", "Start tag expected"),
    "HTML": ("<!DOCTYPE html><html><body></body></html>", "is an HTML page"),
    "other elements": (
        "<Orders><Order/><Order/></Orders>",
        "has no element 'orders/order'.*Found: 'Orders'. Fix xml.records",
    ),
    "elements elsewhere": (
        "<orders><data><order/></data><Order/></orders>",
        "Found: 'orders', 'orders/data', 'orders/Order'",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_documents_that_are_refused(tmp_path: Path, case: str) -> None:
    content, problem = REFUSED[case]
    with pytest.raises(RunFailed, match=problem) as caught:
        execute(tmp_path, content, columns={"id": {"sql": '"@id"'}}, source=SOURCE)
    assert "root:" not in str(caught.value)
    assert not (tmp_path / "mapped.parquet").exists()


def test_what_was_read_is_no_longer_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xml, "_PIECE", 500)
    most = 0
    taken = xml._Document._object

    def counted(self: Any, record: Any) -> Any:
        nonlocal most
        most = max(most, sum(1 for _ in record.getroottree().iter()))
        return taken(self, record)

    monkeypatch.setattr(xml._Document, "_object", counted)
    junk = "<head><deep><n>1</n><n>2</n></deep></head>" * 500
    text = f"<orders>{junk}{'<order><a>1</a><b/></order><x/>' * 1000}{junk}<order/></orders>"
    result = execute(tmp_path, text, columns={"a": {}}, source=SOURCE)
    assert result.metrics["source"]["records"] == 1001
    assert most < 100


@pytest.mark.parametrize(
    "text",
    [
        "<orders>{}<order/></orders>",
        "<orders><order>{}</order></orders>",
        "<orders><order/><order><a>1</a>{}</order></orders>",
    ],
)
def test_a_record_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """As is what is between two of them: comments, say, end nothing."""
    monkeypatch.setattr(xml, "LONGEST", 10_000)
    monkeypatch.setattr(xml, "_PIECE", 1000)
    content, flow = (
        text.format("<!-- words -->" * 1000),
        {"columns": {"id": {"sql": "'x'"}}, "source": SOURCE},
    )
    with pytest.raises(RunFailed, match="has more than 10,000 bytes in orders/order number"):
        execute(tmp_path / "a", content, **flow)
    paths = "<x12345678>" * 60 + "</x12345678>" * 60
    with pytest.raises(RunFailed, match="has more than 10,000 bytes in orders/order number 1"):
        execute(tmp_path / "b", f"<orders><order>{paths}</order></orders>", **flow)
