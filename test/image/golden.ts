import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** Bytes of a file in golden/. */
export function golden(name: string): Buffer {
  return readFileSync(fileURLToPath(new URL(`./golden/${name}`, import.meta.url)));
}
