import type { LayerTar } from './layer-tar.js';

/** Most layers that are read at a time: each takes memory for what is decoded ahead. */
const MAX_LAYERS = 4;

/**
 * The layers of an image, which are converted one after another because each leaves out what those below it have, but are read
 * side by side: as soon as one has come in whole, the next one is begun, up to `jobs` at a time. So no connection stays open
 * without being read while a large layer is converted.
 */
export class LayersAhead {
  readonly #begin: (layer: number) => Promise<LayerTar>;
  readonly #count: number;
  readonly #most: number;
  readonly #begun = new Map<number, Promise<LayerTar>>();
  #current = 0;
  #closed = false;

  /** `begin` begins to read one of `count` layers, counted from the lowest. */
  constructor(begin: (layer: number) => Promise<LayerTar>, { count, jobs }: { count: number; jobs: number }) {
    this.#begin = begin;
    this.#count = count;
    this.#most = Math.min(jobs, MAX_LAYERS);
  }

  /**
   * The layer, begun now unless that was done before; the caller closes it. Those below it are not asked for any more. Throws
   * what `begin` throws.
   */
  async open(layer: number): Promise<LayerTar> {
    this.#current = layer;
    for (const below of [...this.#begun.keys()].filter((other) => other < layer)) this.#drop(below);
    const tar = this.#get(layer);
    this.#begun.delete(layer);
    this.#follow(tar, layer + 1);
    return tar;
  }

  /** Drops what was begun and not asked for. */
  close(): void {
    this.#closed = true;
    for (const layer of [...this.#begun.keys()]) this.#drop(layer);
  }

  #get(layer: number): Promise<LayerTar> {
    let tar = this.#begun.get(layer);
    if (tar === undefined) {
      tar = this.#begin(layer);
      // Whoever asks for the layer hears of it.
      tar.catch(() => {});
      this.#begun.set(layer, tar);
    }
    return tar;
  }

  /** Begins `next` when `tar`, the layer in front of it, has come in. */
  #follow(tar: Promise<LayerTar>, next: number): void {
    tar
      .then(({ received }) => received)
      .then(
        () => {
          const isWanted = next < this.#count && next > this.#current && next < this.#current + this.#most;
          if (this.#closed || !isWanted || this.#begun.has(next)) return;
          this.#follow(this.#get(next), next + 1);
        },
        () => {},
      );
  }

  #drop(layer: number): void {
    this.#begun.get(layer)?.then(
      (tar) => tar.close(),
      () => {},
    );
    this.#begun.delete(layer);
  }
}
