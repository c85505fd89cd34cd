import type { FileHandle } from 'node:fs/promises';

/** Writes all of `pieces` where the file is, with as few calls as the kernel takes them in; their bytes. Errors are the system's. */
export async function appendAll(handle: Pick<FileHandle, 'writev'>, pieces: Buffer[]): Promise<number> {
  let rest = pieces.filter(({ length }) => length > 0);
  let total = 0;
  while (rest.length > 0) {
    const { bytesWritten } = await handle.writev(rest);
    total += bytesWritten;
    rest = without(rest, bytesWritten);
  }
  return total;
}

/** `pieces` without their first `count` bytes. */
function without(pieces: Buffer[], count: number): Buffer[] {
  let skip = count;
  return pieces.flatMap((piece) => {
    const taken = Math.min(skip, piece.length);
    skip -= taken;
    return taken === piece.length ? [] : [piece.subarray(taken)];
  });
}
