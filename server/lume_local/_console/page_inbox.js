// The inbox: rejected rows that need work, by flow and reason.

import { askDiscard } from "./actions.js";
import { get, whoAmI } from "./api.js";
import { bar, days } from "./charts.js";
import { el, refill } from "./dom.js";
import { counted, number, since } from "./format.js";
import { reviewAddress } from "./mend/review.js";
import { actButton, address, card, figure, figures, rowHead, runLink, select, table } from "./parts.js";
import { ageOf } from "./status.js";

const DAYS = 30;
const FRESH = 60_000;
const COLUMNS = [
  ["Reason"],
  ["Open", "num"],
  ["New", "num"],
  ["Closed", "num"],
  ["Oldest", "num"],
  ["Compared", "bar-cell"],
];
const ORDERS = { most: "Most rows first", oldest: "Oldest first" };

export async function show({ query, signal }) {
  const { name: me } = await whoAmI({ signal });
  const assignee = query.get("assignee");
  const order = query.get("order") in ORDERS ? query.get("order") : "most";
  const node = el("div");
  let drawn = null;
  let month = null;
  let asked = 0;

  /** The trend over a month, which changes slowly. */
  async function trend() {
    if (month === null || Date.now() - asked > FRESH) {
      asked = Date.now();
      month = await get("/v1/inbox", { since: since(DAYS * 86400) }, { signal });
    }
    return new Map(month.flows.map((one) => [one.flow, one.days]));
  }

  async function load() {
    const [now, trends] = await Promise.all([get("/v1/inbox", {}, { signal }), trend()]);
    const state = JSON.stringify([now.flows, now.items]);
    if (state === drawn) return; // an open choice stays open
    drawn = state;
    const [flows, items] = [now.flows, now.items].map((all) => [...all].sort((a, b) => compare(order, a, b)));
    const shown = flows.filter((flow) => !assignee || itemsOf(flow, items, assignee).length > 0);
    refill(
      node,
      el("h1", { tabindex: -1 }, "Inbox"),
      el("p.lead", flows.some((flow) => flow.open) ? words(flows, assignee) : "No rejected row is open."),
      flows.length > 0 && el("div.tools", orders(order, query), assignees(flows, me, assignee, query)),
      shown.map((flow) =>
        ofFlow(
          flow,
          itemsOf(flow, items, assignee).sort((a, b) => compare(order, a, b)),
          trends.get(flow.flow) ?? [],
          assignee,
          me,
        ),
      ),
    );
  }
  await load();
  return { title: "Inbox", node, update: load, polls: true };
}

const compare = (order, a, b) =>
  order === "oldest" ? String(a.oldest).localeCompare(String(b.oldest)) : b.open - a.open;

function words(flows, assignee) {
  const sum = (name) => flows.reduce((total, flow) => total + flow[name], 0);
  if (assignee) {
    const own = flows.flatMap(({ assigned }) => assigned.filter((one) => one.assignee === assignee));
    return `${number(own.reduce((total, one) => total + one.open, 0))} of ${counted(sum("open"), "open rejected row")} are assigned to ${assignee}.`;
  }
  return `${number(sum("open"))} rejected rows are open; ${number(sum("new"))} are new since yesterday, and ${number(sum("closed"))} were closed.`;
}

/** The reasons of a flow, or of the rows of one person. */
function itemsOf({ flow, assigned }, items, assignee) {
  const all = items.filter((item) => item.flow === flow);
  if (assignee === null) return all;
  const own = new Map(assigned.filter((one) => one.assignee === assignee).map((one) => [one.reason, one.open]));
  const ofOne = (item) => ({ ...item, open: own.get(item.reason), new: 0, closed: 0, oldest: null }); // unknown
  return all.filter((item) => own.has(item.reason)).map(ofOne);
}

function assignees(flows, me, assignee, query) {
  const names = new Set([me, ...flows.flatMap((flow) => flow.assigned.map((one) => one.assignee))]);
  if (assignee) names.add(assignee);
  const isMe = (name) => name === me || me.endsWith(`:${name}`); // of the session `server:carol`, also carol
  const options = [["", "everybody"], ...[...names].map((name) => [name, isMe(name) ? `me (${name})` : name])];
  const choose = (value) => (location.hash = address(["inbox"], query, { assignee: value }));
  return el("label.field.inline", "Assigned to", select({ name: "assignee" }, options, assignee ?? "", choose));
}

function orders(order, query) {
  const choose = (value) => {
    location.hash = address(["inbox"], query, { order: value === "most" ? null : value });
  };
  return el("label.field.inline", "Order", select({ name: "order" }, Object.entries(ORDERS), order, choose));
}

function ofFlow(flow, items, trend, assignee, me) {
  const here = (reason) => address(["inbox", flow.flow], "", { reason, assignee });
  const { lost } = flow.account;
  const most = Math.max(1, ...items.map((item) => item.open));
  const node = card(
    flow.flow,
    figures(
      figure("Open", number(assignee ? items.reduce((all, { open }) => all + open, 0) : flow.open), "partial"),
      !assignee && [
        figure("New since yesterday", number(flow.new)),
        figure("Closed since yesterday", number(flow.closed)),
        figure("Oldest", flow.oldest ? ageOf(flow.oldest) : "–"),
      ],
      lost > 0 && figure("Lost", number(lost), "failed"),
    ),
    !flow.account.closes && el("p.problem", "The account of this flow does not balance: please report it."),
    lost > 0 &&
      el(
        "p.muted",
        "The rejects file of the lost rows is gone. Run the source again, or discard all rows of the flow. ",
        actButton("Discard all rows …", () => askDiscard(flow.flow)),
      ),
    flow.replays.length > 0 &&
      el(
        "p.muted",
        "Being submitted or replayed: ",
        flow.replays.flatMap((id) => [runLink(id), " "]),
      ),
    (flow.submissions ?? []).map((one) =>
      el(
        "p.tell",
        el("span.grow", `${counted(one.rows, "row")} of ${one.owner} wait for approval.`),
        el("a", { href: reviewAddress(flow.flow, one) }, one.owner === me ? "Show them" : "Look at them"),
      ),
    ),
    items.length > 0 && el("div.below", el("a", { href: here(null), class: "button" }, "Correct all reasons")),
    items.length > 0 &&
      table(
        `Reasons of ${flow.flow}`,
        COLUMNS,
        items.map((item) => reason(item, here, most)),
        "stacked labelled reasons-of-flow",
      ),
    trend.length > 0 && days(`Rejected rows of ${flow.flow} by day`, trend, DAYS),
  );
  return node;
}

function reason(item, here, most) {
  return [
    rowHead(el("a", { href: here(item.reason) }, item.reason)),
    number(item.open),
    item.new ? `+${number(item.new)}` : "",
    item.closed ? `−${number(item.closed)}` : "",
    item.oldest ? ageOf(item.oldest) : "",
    bar(item.open / most, "partial"),
  ];
}
