import { setTimeout as sleep } from 'node:timers/promises';
import type { BlobCache } from '../cache/blob-cache.js';
import type { ImageSource } from '../image/source.js';
import type { MountInfo, MountRequest } from './api/api.js';
import type { DaemonLog } from './daemon-log.js';
import type { KeptMount } from './drivers/active-mount.js';
import type { NydusImage } from './image/nydus-image.js';
import type { AttachedStartup } from './startup/mount-startup.js';
import type { Undo } from './undo.js';

/** How many images are kept at most, and how long, in milliseconds. */
const MAX_IMAGES = 4;
const KEPT_MS = 30_000;
/** How long to wait for the last requests of a file system that ends, in milliseconds. */
export const RELEASE_DEADLINE = 2_000;

/** An image that was mounted, and is kept as it was for the next request of the same kind. */
export interface KeptImage {
  /** What asked for it. */
  request: MountRequest;
  /** How it was mounted. */
  info: MountInfo;
  /** `major:minor` of its file system. */
  device: string;
  image: NydusImage;
  /** Its connections, through which its blobs are read. */
  source: ImageSource;
  blobs: readonly BlobCache[];
  startup: AttachedStartup;
  mount: KeptMount;
  /** Gives back what the image uses. */
  undo: Undo;
}

/**
 * Images of runs that ended lately: file system, page cache, connections. Each is for one mount at a time. Nobody sees them; they go
 * after a while, when there are others, when their room is wanted, and with this process.
 */
export class KeptImages {
  /** The one that was kept first is first. */
  readonly #kept = new Map<string, { kept: KeptImage; timer: NodeJS.Timeout }>();
  readonly #going = new Set<Promise<void>>();
  readonly #log: Pick<DaemonLog, 'error'>;

  constructor(log: Pick<DaemonLog, 'error'>) {
    this.#log = log;
  }

  /** How many are kept. */
  get size(): number {
    return this.#kept.size;
  }

  add(kept: KeptImage): void {
    const key = keyOf(kept.request);
    this.#drop(key);
    const timer = setTimeout(() => this.#drop(key), KEPT_MS).unref();
    this.#kept.set(key, { kept, timer });
    const [oldest] = this.#kept.keys();
    if (this.#kept.size > MAX_IMAGES) this.#drop(oldest!);
  }

  /** What was kept for such a request; it is the caller's from now on. */
  take(request: MountRequest): KeptImage | undefined {
    const key = keyOf(request);
    const found = this.#kept.get(key);
    clearTimeout(found?.timer);
    this.#kept.delete(key);
    return found?.kept;
  }

  /** Ends the file system of an image that was taken, and gives back what the image used. */
  async giveUp({ mount, undo, info: { reference } }: KeptImage): Promise<void> {
    const onError = (error: unknown) => this.#log.error('cannot give up a kept image', { reference, error });
    await mount.release().catch(onError);
    await undo.run(onError);
  }

  /** Gives up all of it. Resolves when nothing of it is in use any more, or after a time. */
  async clear(): Promise<void> {
    for (const key of [...this.#kept.keys()]) this.#drop(key);
    if (this.#going.size === 0) return;
    const late = sleep(RELEASE_DEADLINE, undefined, { ref: false });
    await Promise.race([Promise.all(this.#going), late]);
  }

  #drop(key: string): void {
    const found = this.#kept.get(key);
    if (found === undefined) return;
    clearTimeout(found.timer);
    this.#kept.delete(key);
    const going = this.giveUp(found.kept).finally(() => this.#going.delete(going));
    this.#going.add(going);
  }
}

/** Requests with the same key want the same, at another place. */
function keyOf({ mountpoint: _, requestId: __, ...what }: MountRequest): string {
  return JSON.stringify(Object.entries(what).sort(([a], [b]) => (a < b ? -1 : 1)));
}
