import { existsSync, readdirSync, readFileSync } from 'node:fs';

/** Files below `dir` that loop devices stand on, as the kernel names them: `(deleted)` is behind those that have no name any more. */
export function loopFiles(dir: string): string[] {
  return readdirSync('/sys/block')
    .map((name) => `/sys/block/${name}/loop/backing_file`)
    .filter((path) => existsSync(path))
    .map(backingFile)
    .filter((file) => file.startsWith(`${dir}/`));
}

/** Empty if the device was cleared just now. */
function backingFile(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return '';
  }
}
