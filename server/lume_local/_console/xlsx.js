// Rows as an Excel workbook with one sheet, in which every cell is a text: nothing becomes a number or a date.

const MOST_ROWS = 1_048_575;
const LONGEST = 32_767;
const encoder = new TextEncoder();

/** Returns the workbook of rows, each an object; throws if Excel has no room for them. */
export function workbook(rows) {
  const names = [...new Set(rows.flatMap(Object.keys))];
  if (rows.length > MOST_ROWS)
    throw new Error("Excel has no room for so many rows: download the rejects as a file.");
  const lines = [names, ...rows.map((row) => names.map((name) => text(row[name])))];
  const sheet = lines.map((cells) => `<row>${cells.map(cell).join("")}</row>`).join("");
  return new Blob(
    [
      zip({
        ...PARTS,
        "xl/worksheets/sheet1.xml": `${XML}<worksheet xmlns="${MAIN}"><sheetData>${sheet}</sheetData></worksheet>`,
      }),
    ],
    {
      type: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    },
  );
}

function text(value) {
  if (value === null || value === undefined) return null;
  const found = Array.isArray(value)
    ? value.join("; ")
    : typeof value === "object"
      ? JSON.stringify(value)
      : String(value);
  if (found.length > LONGEST) throw new Error("A value is too long for Excel: download the rejects as a file.");
  return found;
}

const ESCAPES = { "&": "&amp;", "<": "&lt;", ">": "&gt;" };
const odd = (char) => `_x${char.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}_`; // Excel's own escapes

function cell(value) {
  if (value === null) return "<c/>";
  const safe = value
    .replace(/_x[0-9A-F]{4}_/g, (one) => `_x005F${one}`)
    .replace(/[\u0000-\u0008\u000b-\u001f\ufffe\uffff]/g, odd)
    .replace(/[&<>]/g, (char) => ESCAPES[char]);
  return `<c t="inlineStr"><is><t xml:space="preserve">${safe}</t></is></c>`;
}

const XML = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>';
const MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main";
const OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
const PACKAGE = "http://schemas.openxmlformats.org/package/2006";
const KIND = "application/vnd.openxmlformats-officedocument.spreadsheetml";
const related = (type, target) =>
  `${XML}<Relationships xmlns="${PACKAGE}/relationships"><Relationship Id="r1" Type="${OFFICE}/${type}" Target="${target}"/></Relationships>`;
const PARTS = {
  "[Content_Types].xml":
    `${XML}<Types xmlns="${PACKAGE}/content-types"><Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>` +
    `<Override PartName="/xl/workbook.xml" ContentType="${KIND}.sheet.main+xml"/>` +
    `<Override PartName="/xl/worksheets/sheet1.xml" ContentType="${KIND}.worksheet+xml"/></Types>`,
  "_rels/.rels": related("officeDocument", "xl/workbook.xml"),
  "xl/_rels/workbook.xml.rels": related("worksheet", "worksheets/sheet1.xml"),
  "xl/workbook.xml": `${XML}<workbook xmlns="${MAIN}" xmlns:r="${OFFICE}"><sheets><sheet name="Rejects" sheetId="1" r:id="r1"/></sheets></workbook>`,
};

/** Returns an uncompressed ZIP archive of text files by name. */
function zip(files) {
  const parts = [];
  const directory = [];
  let at = 0;
  for (const [name, content] of Object.entries(files)) {
    const [path, data] = [encoder.encode(name), encoder.encode(content)];
    const common = [20, 0x800, 0, 0, 0x21, 0, 0]; // version, UTF-8, stored, the earliest time and day in ZIP
    const sizes = [crc(data), data.length, data.length];
    parts.push(header(0x04034b50, common.slice(0, 5), sizes, [path.length, 0]), path, data);
    directory.push(
      header(0x02014b50, [20, ...common.slice(0, 5)], sizes, [path.length, 0, 0, 0, 0], [0, at]),
      path,
    );
    at += 30 + path.length + data.length;
  }
  const length = directory.reduce((sum, one) => sum + one.length, 0);
  const count = directory.length / 2;
  return new Blob([...parts, ...directory, header(0x06054b50, [0, 0, count, count], [length, at], [0])]);
}

/** Writes a signature, then numbers of two bytes, of four, of two, and of four. */
function header(signature, shorts, longs, more, last = []) {
  const data = new DataView(
    new ArrayBuffer(4 + 2 * (shorts.length + more.length) + 4 * (longs.length + last.length)),
  );
  let at = 0;
  const put = (values, size) => {
    for (const value of values) {
      if (size === 2) data.setUint16(at, value, true);
      else data.setUint32(at, value, true);
      at += size;
    }
  };
  put([signature], 4);
  put(shorts, 2);
  put(longs, 4);
  put(more, 2);
  put(last, 4);
  return new Uint8Array(data.buffer);
}

const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  let value = n;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

function crc(data) {
  let value = 0xffffffff;
  for (const byte of data) value = (value >>> 8) ^ TABLE[(value ^ byte) & 0xff];
  return (value ^ 0xffffffff) >>> 0;
}
