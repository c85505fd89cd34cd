import { constants } from 'node:fs';
import { type FileHandle, mkdir, open } from 'node:fs/promises';

/** open(2), Linux: a file without a name, which goes with its last descriptor. The same bit on x86-64 and arm64. */
const O_TMPFILE = 0o20000000 | constants.O_DIRECTORY;

/** A file without a name in `dir`, which is created if it is not there. Nothing is left of it, however this process ends. */
export async function openNameless(dir: string): Promise<FileHandle> {
  await mkdir(dir, { recursive: true, mode: 0o700 });
  return open(dir, O_TMPFILE | constants.O_RDWR, 0o600);
}
