// The server's messages name parameters of the library; a page has controls.

const CONTROLS = [
  [/pass force_rerun=true to process/g, "choose “Run again, forced …” to process"],
  [/lume flow map \S+ .+$/, "choose “Map this file”."],
];

/** Returns a message with parameters replaced by what a page has for them. */
export const inControls = (text) =>
  CONTROLS.reduce((said, [words, control]) => said.replace(words, control), text);
