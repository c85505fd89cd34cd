import type { IncomingHttpHeaders } from 'node:http';
import { plain } from './error.js';

/** Most warnings of one answer that are shown, and most characters of each. */
const MAX_WARNINGS = 8;
const MAX_LENGTH = 320;
/** Most different warnings of one registry that are told. */
const MAX_TOLD = 32;

/** What `Warning: 299 - "text"` headers say (OCI distribution spec, warnings). Other codes and agents are not meant for clients. */
export function parseWarnings({ warning }: IncomingHttpHeaders): string[] {
  const text = [warning ?? []].flat().join(', ');
  const found = text.matchAll(/(?:^|,)\s*299 - "((?:[^"\\]|\\.)*)"/g);
  const texts = [...found].map(([, quoted]) => plain(quoted!.replace(/\\(.)/g, '$1')).slice(0, MAX_LENGTH));
  return [...new Set(texts.filter((one) => one !== ''))].slice(0, MAX_WARNINGS);
}

/** Tells `onWarning` of each warning of a registry, the same one once, and of so many that the last is that there are more. */
export function warningTeller(
  name: string,
  onWarning: ((text: string) => void) | undefined,
): (headers: IncomingHttpHeaders) => void {
  const told = new Set<string>();
  return (headers) => {
    if (onWarning === undefined || headers.warning === undefined) return;
    for (const text of parseWarnings(headers)) {
      if (told.size > MAX_TOLD) return;
      if (told.has(text)) continue;
      told.add(text);
      onWarning(`${name}: ${told.size > MAX_TOLD ? 'more warnings, which are not shown' : text}`);
    }
  };
}
