// Numbers, times and names for people.

const numbers = new Intl.NumberFormat("en");
const shares = new Intl.NumberFormat("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const moments = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

export const number = (value) => numbers.format(value ?? 0);

/** "1 row", "2 rows". */
export const counted = (count, word) => `${number(count)} ${word}${count === 1 ? "" : "s"}`;

/** A percentage; one close to 0 or 100 % is not rounded to it. */
export function percent(share) {
  if (share > 0 && share < 0.001) return "< 0.1 %";
  if (share < 1 && share > 0.999) return "> 99.9 %";
  return share === 0 || share === 1 ? `${100 * share} %` : `${shares.format(share * 100)} %`;
}

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.floor(seconds % 60)} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

export function age(time, now = Date.now()) {
  const seconds = Math.max(0, (now - Date.parse(time)) / 1000);
  if (seconds < 10) return "just now";
  if (seconds < 60) return `${Math.floor(seconds)} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86400)} d ago`;
}

const dates = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeZone: "UTC" });

/** The day of a time, in UTC as the server counts days. */
export const date = (time) => dates.format(new Date(time));

export const moment = (time) => (time ? moments.format(new Date(time)) : "–");

/** Shortens an ID like the command `lume`. */
export const shortId = (id) => id.replace(/^run_/, "").slice(0, 8);

export const since = (seconds) => new Date(Date.now() - seconds * 1000).toISOString();

export const secondsBetween = (start, end) => (Date.parse(end) - Date.parse(start)) / 1000;

/** The name of the file in a path; that of an upload has a unique part in front. */
export const fileName = (path) =>
  (path.split("/").filter(Boolean).pop() ?? path).replace(/^[0-9a-f]{32}-(?=.)/, "");

/** Whether the source of a run has rejected rows of earlier runs. */
export const isReplay = (path) => path.startsWith("upload://lume-replay-");

/** The source of a run: its path; of an upload its file; of rejected rows of other runs the file that had them. */
export function sourceName({ source_path: path, run_metadata: about }) {
  const rows = about?.mend ?? about?.replay;
  const first = rows ? rows.source_path : about?.resubmit_source;
  const of = typeof first === "string" ? ` of ${fileName(first)}` : "";
  if (isReplay(path)) return `${about?.mend ? "corrections" : "replay"} of ${counted(rows?.rows, "row")}${of}`;
  if (!path.startsWith("upload://")) return path;
  if (typeof about?.resubmit_of !== "string") return fileName(path);
  return `${of ? `corrections${of},` : `${fileName(path)}, corrections of`} run ${shortId(about.resubmit_of)}`;
}

/** Shortens a text to a number of characters. */
export const cut = (text, most) => (text.length > most ? `${text.slice(0, most)}…` : text);
