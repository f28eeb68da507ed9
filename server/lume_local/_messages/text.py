"""The texts of messages: what happened, how often, the most frequent reasons, and a link. Pure.

Texts are short because they are read in mail, chats and on phones: a title that says it all, and a few lines.
"""

from collections.abc import Iterable, Mapping
from urllib.parse import quote, urlencode

import orjson
from attrs import frozen

from lume_async._base.elided import LIMIT, elided
from lume_async._base.words import counted
from lume_local._messages.limit import OTHERS, Digest, Happened
from lume_local._messages.rules import RECOVERED
from lume_local._runs.deliveries.notices import REFUSED, Notice
from lume_local._runs.unusual import NAME as UNUSUAL

LONGEST_TITLE, LONGEST = 150, 1800
"""Characters; some services cut texts after 2,000."""
_NAMED = 5
"""Reasons and flows listed by name."""
_DONE = {
    "FAILED": "failed",
    "CRASHED": "crashed",
    "PARTIAL_FAILED": "rejected rows",
    "SUCCEEDED": "succeeded",
}
_TYPES = {"SUCCEEDED": "success", RECOVERED: "success", "PARTIAL_FAILED": "warning", UNUSUAL: "warning"}


@frozen
class Texts:
    """Makes the bodies of messages; `console` is the base address of their links."""

    console: str

    def single(self, happened: Happened, *, with_values: bool) -> bytes:
        notice = happened.notice
        if notice.kind == REFUSED:
            where = f"{notice.place}, of the arrival {notice.arrival} for {notice.flow_version}"
            about = [where, f"Refused at {_time(notice.at)}"]
        else:
            ended = f"{notice.kind} at {_time(notice.at)}"
            counts = f"{counted(notice.read, 'row')} read, {notice.rejected:,} rejected"
            about = [
                f"{notice.flow_version} on {notice.place}",
                f"{ended}: {counts}" if notice.read else ended,
            ]
        lines = [*about, *(notice.unusual if happened.kinds else ())]
        if notice.error is not None:
            lines.append(f"Reason: {notice.why(with_values=with_values)}")
        lines += _listed("Rejected rows", notice.reasons)
        kind = happened.kinds[-1] if happened.kinds[-1] == RECOVERED else happened.kinds[0]
        where = f"#/runs/{quote(notice.run_id)}"
        if not notice.run_id:
            where = f"#/arrivals?{urlencode({'name': notice.arrival, 'state': 'refused'})}"
        return self._body(_title(kind, notice), lines, where, kind)

    def digest(self, gathered: Digest) -> bytes:
        """Return the body for all events since a limit was reached."""
        lines = [_counted(kind, flows) for kind, flows in gathered.counts.items()]
        lines += [f"{flow} is fine again" for flow in gathered.fine]
        title = lines[0] if len(lines) == 1 else f"{gathered.total} things happened: {', '.join(lines)}"
        if gathered.rejected:
            lines.append(f"{counted(gathered.read, 'row')} read, {gathered.rejected:,} rejected")
        lines += [*_listed("Reasons", gathered.why), *_listed("Rejected rows", gathered.reasons)]
        lines.append(f"From {_time(gathered.first)} to {_time(gathered.last)}")
        worst = min(gathered.counts, key=[*_DONE, REFUSED, UNUSUAL].index, default=RECOVERED)
        return self._body(title, lines, _runs(gathered), worst)

    def _body(self, title: str, lines: Iterable[str], where: str, kind: str) -> bytes:
        text = "\n".join(_on_one_line(line) for line in lines)
        link = f"{self.console}/{where}"
        return orjson.dumps(
            {
                "title": _on_one_line(title, LONGEST_TITLE),
                "text": f"{elided(text, LONGEST - len(link) - 1)}\n{link}",
                "type": _TYPES.get(kind, "failure"),
            }
        )


def body_of_trial(variable: str, file: str) -> bytes:
    """Return the body of a test message."""
    text = f"Messages from Lume arrive here: {file} names the variable {variable}. Nothing has happened."
    return orjson.dumps({"title": "Lume: a test", "text": elided(text), "type": "info"})


def _title(kind: str, notice: Notice) -> str:
    match kind:
        case "PARTIAL_FAILED":
            rows = counted(notice.read, "row")
            return f"{notice.flow}: {notice.rejected:,} of {rows} rejected ({notice.share:.1%})"
        case "arrival.refused":
            return f"{notice.flow}: a file was refused"
        case "warn.unusual":
            return f"{notice.flow}: a run is unusual"
        case "recovered":
            return f"{notice.flow} is fine again"
    return f"{notice.flow}: a run {_DONE[kind]}"


def _counted(kind: str, flows: Mapping[str, int]) -> str:
    """Return `37 runs of orders failed`, or `40 runs failed (orders 37, people 3)`."""
    total = sum(flows.values())
    things = counted(total, "file" if kind == REFUSED else "run")
    be = "was" if total == 1 else "were"
    done = {REFUSED: f"{be} refused", UNUSUAL: f"{be} unusual"}.get(kind) or _DONE[kind]
    if len(flows) == 1 and OTHERS not in flows:
        return f"{things} of {next(iter(flows))} {done}"
    return f"{things} {done} ({', '.join(f'{name} {count:,}' for name, count in _most(flows))})"


def _listed(what: str, counts: Mapping[str, int]) -> list[str]:
    """Return the most frequent names with their numbers, under a heading."""
    return [f"{what}:", *(f"  {count:,} x {name}" for name, count in _most(counts))] if counts else []


def _most(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """Return the most frequent names, and the others as one."""
    named = {name: count for name, count in counts.items() if name != OTHERS}
    found = sorted(named.items(), key=lambda item: (-item[1], item[0]))
    others = sum(count for _, count in found[_NAMED:]) + counts.get(OTHERS, 0)
    return [*found[:_NAMED], *([("others", others)] if others else [])]


def _runs(gathered: Digest) -> str:
    """Return the console page that lists these runs, or these files."""
    if {*gathered.counts} == {REFUSED}:
        return "#/arrivals?state=refused"
    flows = {flow for of in gathered.counts.values() for flow in of}
    statuses = [kind for kind in gathered.counts if kind in _DONE]
    query = {"flow": next(iter(flows))} if len(flows) == 1 and OTHERS not in flows else {}
    if statuses and len(statuses) == len(gathered.counts):
        query["status"] = ",".join(statuses)
    return f"#/runs?{urlencode(query, safe=',')}" if query else "#/runs"


def _on_one_line(text: str, limit: int = LIMIT) -> str:
    """Return a quoted text, such as the name of a file, without line breaks of its own."""
    return elided(text.replace("\n", "\\n"), limit)


def _time(at: str) -> str:
    return at[:19].replace("T", " ") + " UTC"
