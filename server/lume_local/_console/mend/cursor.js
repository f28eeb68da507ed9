// The cursor of a grid and the selection: a rectangle between its cell and another corner.

export class Cursor {
  row = 0;
  column = 2; // the first editable one
  #end = null; // the other corner

  constructor(source, changed) {
    this.source = source;
    this.changed = changed;
  }

  isAt = (row, column) => row === this.row && column === this.column;
  isEnd = (row, column) => row === this.#corner[0] && column === this.#corner[1];

  get #corner() {
    return this.#end ?? [this.row, this.column];
  }

  /** The first and last row and column. */
  get area() {
    const [row, column] = this.#corner;
    return [
      Math.min(row, this.row),
      Math.max(row, this.row),
      Math.min(column, this.column),
      Math.max(column, this.column),
    ];
  }

  get isOne() {
    const [top, bottom, left, right] = this.area;
    return top === bottom && left === right;
  }

  has(row, column) {
    const [top, bottom, left, right] = this.area;
    return row >= top && row <= bottom && column >= left && column <= right;
  }

  set(row, column) {
    this.#end = null;
    [this.row, this.column] = this.#within(row, column);
    this.changed();
  }

  extend(row, column) {
    this.#end = this.#within(row, column);
    this.changed();
  }

  move(rows, columns) {
    this.set(this.row + rows, this.column + columns);
  }

  /** Moves the other corner. */
  stretch(rows, columns) {
    const [row, column] = this.#corner;
    this.extend(row + rows, column + columns);
    return this.#end;
  }

  /** Selects all cells of the selected columns. */
  wholeColumns() {
    const [, , left, right] = this.area;
    this.set(0, left);
    this.extend(this.source.count - 1, right);
  }

  /** Keeps the cursor and the selection within the rows and columns that remain. */
  fit() {
    [this.row, this.column] = this.#within(this.row, this.column);
    if (this.#end) this.#end = this.#within(...this.#end);
  }

  #within(row, column) {
    return [
      Math.max(0, Math.min(this.source.count - 1, row)),
      Math.max(0, Math.min(this.source.columns.length - 1, column)),
    ];
  }
}
