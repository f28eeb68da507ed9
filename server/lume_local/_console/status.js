// The look of run statuses, in one place.

import { el } from "./dom.js";
import { age, moment, percent } from "./format.js";

export const ACTIVE = ["CREATED", "SYNCING_SOURCE", "TRANSFORMING", "SYNCING_TARGET"];
const LOOKS = {
  SUCCEEDED: "ok",
  PARTIAL_FAILED: "partial",
  FAILED: "failed",
  CRASHED: "crashed",
  CANCELLED: "cancelled",
};
const NAMES = {
  CREATED: "Waiting",
  SYNCING_SOURCE: "Reading source",
  TRANSFORMING: "Transforming",
  SYNCING_TARGET: "Writing target",
  SUCCEEDED: "Succeeded",
  PARTIAL_FAILED: "Partial",
  FAILED: "Failed",
  CRASHED: "Crashed",
  CANCELLED: "Cancelled",
};

/** An unknown status is shown as it is. */
export const nameOf = (status) => NAMES[status] ?? status;
export const lookOf = (status) => LOOKS[status] ?? "active";
export const isActive = (run) => run.finished_at === null;

/** A run's status and progress. */
export function badge(run) {
  const share = isActive(run) && run.status !== "CREATED" ? run.progress : null;
  return el(
    "span",
    { class: `badge ${lookOf(run.status)}`, title: run.status },
    nameOf(run.status),
    share !== null && el("span.num", ` ${percent(share ?? 0)}`),
  );
}

/** A time as its age, which `refreshAges` updates. */
export const ageOf = (time) => el("time", { datetime: time, title: moment(time), class: "age" }, age(time));

export function refreshAges() {
  for (const node of document.querySelectorAll("time.age")) {
    const text = age(node.dateTime);
    if (node.textContent !== text) node.textContent = text;
  }
}

/** The share of rejected rows, of one run or many. */
export const rejectedShare = ({ rows_read, rows_rejected }) => (rows_read ? rows_rejected / rows_read : 0);

/** The reasons for rejected rows, with their numbers, the most frequent first. */
export const reasonsOf = ({ reject_reasons }) => Object.entries(reject_reasons).sort(([, a], [, b]) => b - a);
