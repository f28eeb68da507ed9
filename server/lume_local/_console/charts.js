// Charts: shapes in SVG, their text in HTML beside them, and the figures as a table for people who can't see them.

import { el, svg } from "./dom.js";
import { counted, moment, number, percent } from "./format.js";
import { table } from "./parts.js";
import { ACTIVE, lookOf, nameOf } from "./status.js";

const WIDTH = 1000;
const HOUR = 3600_000;
const DAY = 24 * HOUR;

/** Runs per hour, stacked by status. `items`: {hour, status, runs}. */
export function hours(items, count) {
  const byHour = Map.groupBy(items, (item) => Date.parse(item.hour));
  const most = Math.max(1, ...[...byHour.values()].map(total));
  const groups = [...new Set(items.map((item) => groupOf(item.status)))].sort((a, b) => rank(a) - rank(b));
  const ofGroup = (list, group) => total(list.filter((item) => groupOf(item.status) === group));
  const height = 180;
  const { shapes, below } = columns(HOUR, count, height, (start, at, step) => {
    const here = byHour.get(start) ?? [];
    const there = groups.filter((group) => ofGroup(here, group));
    let top = height;
    const parts = there.map((group) => {
      const tall = (ofGroup(here, group) / most) * (height - 4);
      top -= tall;
      return rect(at + 1, top, step - 2, tall, `fill ${lookOf(group)}`);
    });
    return [[moment(start), ...there.map((group) => `${nameOf(group)}: ${number(ofGroup(here, group))}`)], parts];
  });
  const sum = groups.map((group) => `${nameOf(group)} ${number(ofGroup(items, group))}`).join(", ");
  return chart({
    label: "Runs per hour",
    words: `Runs per hour: ${sum || "none"}`,
    height,
    most: number(most),
    shapes,
    below,
    entries: groups.map((group) => [nameOf(group), lookOf(group)]),
    heads: [["Hour"], ["Status"], ["Runs", "num"]],
    rows: items.map((item) => [moment(item.hour), nameOf(item.status), number(item.runs)]),
  });
}

/** The reject ratio of several versions over time. `series`: [name, [{time, share, runs}]] each. */
export function ratios(series) {
  const points = series.flatMap(([, list]) => list);
  const times = points.map((point) => Date.parse(point.time));
  const [from, to] = [Math.min(...times), Math.max(...times)];
  const most = Math.max(0.01, ...points.map((point) => point.share)) * 1.1;
  const height = 160;
  const x = (point) =>
    to === from ? WIDTH / 2 : 12 + ((Date.parse(point.time) - from) / (to - from)) * (WIDTH - 24);
  const y = (point) => height - 6 - (point.share / most) * (height - 12);
  const lines = series.map(([name, list], index) => {
    const words = (point) =>
      `${name}, ${moment(point.time)}: ${percent(point.share)} of the rows of ${number(point.runs)} runs`;
    const dots = list.map((point) =>
      svg(
        "line",
        { x1: x(point), x2: x(point), y1: y(point), y2: y(point), class: `dot line${index % 6}` },
        svg("title", words(point)),
      ),
    );
    return [
      svg("polyline", {
        points: list.map((point) => `${x(point)},${y(point)}`).join(" "),
        class: `stroke line${index % 6}`,
      }),
      dots,
    ];
  });
  return chart({
    label: "Share of rejected rows over time",
    words: `Share of rejected rows over time, of ${series.map(([name]) => name).join(", ")}`,
    look: "short",
    height,
    most: percent(most),
    shapes: lines,
    below: axis(from, to),
    entries: series.map(([name], index) => [name, `line${index % 6}`]),
    heads: [["Version"], ["From"], ["Runs", "num"], ["Rejected", "num"]],
    rows: series.flatMap(([name, list]) =>
      list.map((point) => [name, moment(point.time), number(point.runs), percent(point.share)]),
    ),
  });
}

/** Rejected and closed rows on each of the last days. `items`: {day, opened, closed}. */
export function days(label, items, count) {
  const byDay = new Map(items.map((item) => [Date.parse(item.day), item]));
  const most = Math.max(1, ...items.flatMap((item) => [item.opened, item.closed]));
  const height = 110;
  const { shapes, below } = columns(DAY, count, height, (start, at, step) => {
    const { opened = 0, closed = 0 } = byDay.get(start) ?? {};
    const column = (value, x, look) => {
      const tall = (value / most) * (height - 4);
      return value > 0 && rect(x, height - tall, step * 0.42, tall, `fill ${look}`);
    };
    return [
      [dayOf(start), `rejected: ${number(opened)}`, `closed: ${number(closed)}`],
      [column(opened, at + step * 0.06, "partial"), column(closed, at + step * 0.52, "ok")],
    ];
  });
  const sum = (name) => number(items.reduce((all, item) => all + item[name], 0));
  return chart({
    label,
    words: `${label}: ${sum("opened")} rejected, ${sum("closed")} closed in ${count} days`,
    look: "low",
    height,
    most: number(most),
    shapes,
    below,
    entries: [
      ["Rejected", "partial"],
      ["Closed", "ok"],
    ],
    heads: [["Day"], ["Rejected", "num"], ["Closed", "num"]],
    rows: items.map((item) => [dayOf(Date.parse(item.day)), number(item.opened), number(item.closed)]),
  });
}

/** A column and the axis for the last hours or days; `draw` returns the lines of its text, and its shapes. */
function columns(unit, count, height, draw) {
  const last = Math.floor(Date.now() / unit) * unit;
  const step = WIDTH / count;
  const shapes = Array.from({ length: count }, (_, index) => {
    const [words, parts] = draw(last - (count - 1 - index) * unit, index * step, step);
    return svg("g", svg("title", words.join("\n")), rect(index * step, 0, step, height, "hover"), parts);
  });
  return { shapes, below: axis(last - (count - 1) * unit, last, unit < DAY) };
}

const rect = (x, y, width, height, look) => svg("rect", { x, y, width, height, class: look });

const dayOf = (time) => new Date(time).toLocaleDateString(undefined, { dateStyle: "medium", timeZone: "UTC" });

/** A share as a bar; `offset` is where it starts. */
export function bar(share, look, offset = 0) {
  return svg(
    "svg",
    { viewBox: `0 0 ${WIDTH} 10`, preserveAspectRatio: "none", class: "track", "aria-hidden": "true" },
    rect(offset * WIDTH, 0, Math.max(share * WIDTH, share > 0 ? 6 : 0), 10, `fill ${look}`),
  );
}

const FEW = 10;
const NOT_FEW = 13; // fewer are not worth folding

/** Bars for reasons with their number of rows; `link(reason)` is the target of one. All but the first are folded. */
export function reasonBars(reasons, link = null, chosen = null) {
  const most = reasons[0][1];
  const item = ([reason, times]) => {
    const isOn = reason === chosen;
    const looks = link ? { href: link(reason), "aria-current": isOn && "true", class: isOn ? "on" : "" } : {};
    const parts = [el("span.name", reason), el("span.num", number(times))];
    return el("li", el(link ? "a" : "div", looks, parts, bar(times / most, "partial")));
  };
  const first = reasons.length < NOT_FEW ? reasons.length : FEW;
  const rest = reasons.slice(first);
  return [
    el("ul.bars", reasons.slice(0, first).map(item)),
    rest.length > 0 &&
      el(
        "details",
        { open: rest.some(([reason]) => reason === chosen) },
        el("summary", counted(rest.length, "more reason")),
        el("ul.bars", rest.map(item)),
      ),
  ];
}

const ORDER = ["SUCCEEDED", "PARTIAL_FAILED", "FAILED", "CRASHED", "CANCELLED"];
const rank = (status) => (ORDER.includes(status) ? ORDER.indexOf(status) : ORDER.length);
const groupOf = (status) => (ACTIVE.includes(status) ? "Active" : status);
const total = (items) => items.reduce((sum, item) => sum + item.runs, 0);

function grid(height) {
  return [0.02, 0.35, 0.68].map((share) =>
    svg("line", { x1: 0, x2: WIDTH, y1: height * share, y2: height * share, class: "grid" }),
  );
}

function axis(from, to, hasHours = true) {
  const hours = hasHours ? { hour: "2-digit", minute: "2-digit" } : { timeZone: "UTC" };
  const day = (time) => new Date(time).toLocaleString(undefined, { month: "short", day: "numeric", ...hours });
  const middle = from + (to - from) / 2;
  return el(
    "p.axis.num",
    { "aria-hidden": "true" },
    (to > from ? [from, middle, to] : [from]).map((time) => el("span", day(time))),
  );
}

function legend(entries) {
  return el(
    "ul.legend",
    entries.map(([name, look]) => el("li", el("span", { class: `swatch ${look}` }), name)),
  );
}

/** Shapes with their scale, the axis below, a legend, and the same figures as a table. */
function chart({ label, words, look = "", height, most, shapes, below, entries, heads, rows }) {
  const picture = {
    viewBox: `0 0 ${WIDTH} ${height}`,
    preserveAspectRatio: "none",
    class: `chart ${look}`,
    role: "img",
    "aria-label": words,
  };
  return el(
    "figure",
    el("div.plot", el("span.most.num", most), svg("svg", picture, grid(height), shapes)),
    below,
    legend(entries),
    el("details", el("summary", "As a table"), table(label, heads, rows)),
  );
}
