import { readMounts } from '../../os/mountinfo.js';

/** How often to look whether somebody else has unmounted something, in milliseconds. */
const INTERVAL_MS = 1000;

/** Notices when mounts disappear that no descriptor of ours tells about. */
export interface MountWatcher {
  /** Settles when the file system `device` (`major:minor`) is not mounted at `mountpoint` any more. */
  gone(mountpoint: string, device: string): Promise<void>;
  /** Looks now. */
  look(): Promise<void>;
}

/** Looks at the table of mounts once in a while, as long as there is something to wait for. */
export function createMountWatcher(): MountWatcher {
  const waiting = new Set<{ mountpoint: string; device: string; resolve: () => void }>();
  let timer: NodeJS.Timeout | undefined;

  async function look(): Promise<void> {
    const mounts = new Set((await readMounts()).map(({ mountPoint, device }) => `${device} ${mountPoint}`));
    for (const one of waiting) {
      if (mounts.has(`${one.device} ${one.mountpoint}`)) continue;
      waiting.delete(one);
      one.resolve();
    }
  }

  function schedule(): void {
    if (timer !== undefined || waiting.size === 0) return;
    timer = setTimeout(async () => {
      timer = undefined;
      await look().catch(() => {});
      schedule();
    }, INTERVAL_MS).unref();
  }

  return {
    gone: (mountpoint, device) =>
      new Promise((resolve) => {
        waiting.add({ mountpoint, device, resolve });
        schedule();
      }),
    look,
  };
}
