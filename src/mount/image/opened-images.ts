import type { Bootstrap } from '../../rafs/bootstrap.js';
import type { ImageTree, NydusImage } from './nydus-image.js';

/** What of an opened image is the same for all who open it, and what of the image store it was made from. */
export interface OpenedImage {
  parts: Pick<NydusImage, 'config' | 'blobs' | 'imageSize'> & { tree: ImageTree };
  /** Chunk maps, by name. */
  maps: string[];
}

/** How many images are remembered that nobody uses, how many bytes of bootstraps, and how long, in milliseconds. */
const MAX_IMAGES = 4;
const MAX_BYTES = 32 << 20;
const MAX_IDLE = 60_000;

interface Entry {
  image: OpenedImage;
  bytes: number;
  timer: NodeJS.Timeout;
}

/**
 * Images that this process has opened: checked and decoded once, however often they are mounted. Those whose trees are in use are
 * found as long as somebody holds them, and the last few for a minute more.
 */
export class OpenedImages {
  readonly #used = new Map<string, WeakRef<Bootstrap>>();
  /** By what mounts hold on to. */
  readonly #images = new WeakMap<Bootstrap, OpenedImage>();
  /** Least recently opened first. */
  readonly #recent = new Map<string, Entry>();
  readonly #onIdle: () => void;
  readonly #gone = new FinalizationRegistry<string>((key) => {
    if (this.#used.get(key)?.deref() === undefined) this.#used.delete(key);
  });

  /** `onIdle` is told when an image is forgotten because nobody has asked for it any more: its memory can be had. */
  constructor({ onIdle = () => {} }: { onIdle?: () => void } = {}) {
    this.#onIdle = onIdle;
  }

  /** The image that was opened under `key`, if it is known still. */
  find(key: string): OpenedImage | undefined {
    const bootstrap = this.#used.get(key)?.deref();
    const found = bootstrap && this.#images.get(bootstrap);
    if (found) this.#keep(key, found);
    return found;
  }

  /** Remembers `image`, which nobody changes from here on. */
  add(key: string, image: OpenedImage): void {
    const { bootstrap } = image.parts.tree;
    if (this.#used.get(key)?.deref() !== bootstrap) {
      this.#used.set(key, new WeakRef(bootstrap));
      this.#images.set(bootstrap, image);
      this.#gone.register(bootstrap, key);
    }
    this.#keep(key, image);
  }

  #keep(key: string, image: OpenedImage): void {
    this.#drop(key);
    const timer = setTimeout(() => {
      this.#drop(key);
      this.#onIdle();
    }, MAX_IDLE).unref();
    this.#recent.set(key, { image, bytes: image.parts.tree.bytes.byteLength, timer });
    for (const oldest of this.#recent.keys()) {
      const bytes = [...this.#recent.values()].reduce((sum, entry) => sum + entry.bytes, 0);
      if (this.#recent.size <= MAX_IMAGES && bytes <= MAX_BYTES) break;
      this.#drop(oldest);
    }
  }

  #drop(key: string): void {
    clearTimeout(this.#recent.get(key)?.timer);
    this.#recent.delete(key);
  }
}
