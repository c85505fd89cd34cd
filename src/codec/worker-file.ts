import { fileURLToPath } from 'node:url';

/**
 * The compiled file of a worker in this folder. Worker threads run plain JavaScript: when the caller itself runs from
 * TypeScript sources (tests), the worker is the one that `npm run build` put into `dist`.
 */
export function workerFile(name: string): string {
  const here = import.meta.url;
  const base = here.endsWith('.ts') ? new URL('../../dist/codec/', here) : new URL('./', here);
  return fileURLToPath(new URL(`${name}.js`, base));
}
