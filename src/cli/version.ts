import { readFileSync } from 'node:fs';

/** The version of this package. */
export function packageVersion(): string {
  return (JSON.parse(readFileSync(packageFile('package.json'), 'utf8')) as { version: string }).version;
}

/** The file at `path` in this package. */
export function packageFile(path: string): URL {
  return new URL(`../../${path}`, import.meta.url);
}
