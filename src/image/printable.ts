import { escapeControls } from '../errors.js';

/** Most characters of an outside text in a message. */
const MAX_SHOWN = 300;

/**
 * A text from outside for a message: its first 300 characters on one line, control characters, which a terminal would obey,
 * as `\u` escapes.
 */
export function printable(text: string): string {
  return escapeControls(cut(text));
}

/** As `printable`, in quotes, with quotes and backslashes inside escaped. */
export function quoted(text: string): string {
  return escapeControls(JSON.stringify(cut(text)));
}

function cut(text: string): string {
  return text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text;
}
