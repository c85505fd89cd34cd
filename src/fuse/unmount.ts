import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { isRafterError, messageOf, RafterError } from '../errors.js';
import { unmount, unmountAside } from '../os/mount.js';

const run = promisify(execFile);

/** Programs that may unmount a user's own FUSE mount, newest first. */
const HELPERS = ['fusermount3', 'fusermount'];

/**
 * Unmounts a FUSE mount: umount2(2), and for a user without the right to call it, the set-user-id helper of FUSE.
 * `detach` takes it away also while it is in use; `aside` waits on another thread: see `unmountAside`. Throws BUSY, DENIED, or FAILED if nothing is mounted there.
 */
export async function unmountFuse(
  mountPoint: string,
  { detach = false, aside = false }: { detach?: boolean; aside?: boolean } = {},
): Promise<void> {
  try {
    await (aside ? unmountAside : unmount)(mountPoint, { detach });
  } catch (error) {
    if (!isRafterError(error, 'DENIED') || process.geteuid?.() === 0) throw error;
    await unmountWithHelper(mountPoint, detach, error);
  }
}

async function unmountWithHelper(mountPoint: string, detach: boolean, denied: RafterError): Promise<void> {
  for (const helper of HELPERS) {
    try {
      await run(helper, ['-u', ...(detach ? ['-z'] : []), '--', mountPoint]);
      return;
    } catch (error) {
      if ((error as { code?: unknown }).code === 'ENOENT') continue;
      const reason = String((error as { stderr?: unknown }).stderr ?? '').trim() || messageOf(error);
      const code = /busy/i.test(reason) ? 'BUSY' : 'FAILED';
      throw new RafterError(code, `cannot unmount ${mountPoint}: ${reason}`, { cause: error });
    }
  }
  throw denied;
}
