import type { FileHandle } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { BlobCache } from '../../cache/blob-cache.js';
import { BlobPieces } from '../../cache/blob-pieces.js';
import { PieceArrivals } from '../../cache/fetch/piece-arrivals.js';
import { writeFull } from '../../cache/storage/file-io.js';
import { isRafterError, RafterError } from '../../errors.js';
import type { ImageSource } from '../../image/source.js';
import type { StartupLayer } from '../../image/startup-layer.js';
import { makeDirectories } from '../../os/make-directories.js';
import { openNameless } from '../../os/nameless-file.js';
import {
  checkTableSize,
  type OpenPack,
  openPack,
  type PackReference,
  packReferenceOf,
  parsePackHead,
} from '../../startup/read-pack.js';
import type { PackTable } from '../../startup/table.js';
import type { ImageStore } from '../image/image-store.js';
import { isAllLocal, placesOf } from './startup-places.js';
import { openKeptPack, openRemotePack, type PackStream } from './startup-stream.js';

/**
 * How long a mount waits for the pack's table when everything else is here, in milliseconds; and where the image would start from
 * scattered reads that each cost a piece of several MiB.
 */
const TABLE_PATIENCE_MS = 1000;
const DEAR_TABLE_PATIENCE_MS = 5000;
/**
 * After how many milliseconds the table, some ten KiB, is asked for by itself of who has no pieces: a Dragonfly peer that must first get
 * the pack gives nothing of it before it has 4 MiB.
 */
const TABLE_ALONE_MS = 100;
/**
 * How long the pack lets everything else of a mount go ahead after each of its units, in milliseconds, until the mount is there: a unit
 * takes the same thread about as long to decode, and nobody can read it before. A wire of 200 Mbit/s brings no more units than that.
 */
const COURTESY_MS = 5;

export interface StartupPackOptions {
  layer: StartupLayer;
  store: ImageStore;
  source: ImageSource;
  /** False where no registry may be asked: a pack that is not on this machine is done without then. */
  mayFetch: boolean;
  /** Directory for what arrives. */
  tempDir: string;
  /** Told when the pack is asked for; what it returns is called when nothing more of it comes. */
  onRequest: () => () => void;
  /** Hears of bytes that came over the network. */
  onBytes: (count: number) => void;
  /** Hears why the image starts without the pack, or without a part of it. Reads then fetch chunks as always. */
  onWarning: (error: unknown) => void;
}

/** A pack whose table is known. */
interface Opened {
  stream: PackStream;
  pack: OpenPack;
}

/** Where the units go. */
interface Received {
  file: FileHandle;
  arrivals: PieceArrivals;
}

/**
 * The start-up pack of one mount, on its way from the moment in which it is made. Never throws: what goes wrong is a warning, and reads
 * fetch chunks then.
 */
export class StartupPack {
  readonly #options: StartupPackOptions;
  readonly #abort = new AbortController();
  readonly #askedAt = performance.now();
  readonly #opening: Promise<Opened | undefined>;
  #bytes = 0;
  #received: Promise<Received> | undefined;
  #arrivals: PieceArrivals | undefined;
  #running: Promise<void> = Promise.resolve();
  #readAhead = 0;
  #isReadable = false;

  constructor(options: StartupPackOptions) {
    this.#options = options;
    this.#opening = this.#open().catch((error: unknown) => {
      this.#warn(error);
      return undefined;
    });
  }

  /** KiB of kernel read-ahead that the attached pack was made for; 0 if that is not known, or there is none. */
  get readAhead(): number {
    return this.#readAhead;
  }

  /** Settles when all has arrived that will. */
  get ended(): Promise<void> {
    return this.#running;
  }

  /**
   * Lets reads of `blobs` be answered from the pack, as far as it has come. Waits for its table, but not long. False if nothing is to be
   * had from it: it cannot be read, or all that it has is here already; then the rest of it is not asked for.
   */
  async attach(blobs: readonly BlobCache[]): Promise<boolean> {
    try {
      const table = await this.#tableSoon();
      if (table === undefined) return false;
      const places = placesOf(table, blobs, this.#name);
      if (isAllLocal(places)) {
        this.#abort.abort();
        if (this.#received === undefined) await (await this.#opening)?.pack.end();
        return false;
      }
      const { file, arrivals } = await this.#receive(table);
      for (const [blob, pieces] of places)
        blob.attachPieces(new BlobPieces(pieces, { fd: file.fd, arrivals }));
      this.#readAhead = table.readAhead;
      return true;
    } catch (error) {
      this.#warn(error);
      this.#abort.abort();
      return false;
    }
  }

  /** Says that the mount is there: from now on nothing is more urgent than the pack. */
  hurry(): void {
    this.#isReadable = true;
  }

  /** Ends it. No read of the blobs may be running. */
  async close(): Promise<void> {
    this.#abort.abort();
    const opened = await this.#opening;
    await this.#running;
    await opened?.pack.end().catch(() => {});
    const received = await this.#received?.catch(() => undefined);
    await received?.file.close();
  }

  get #reference(): PackReference {
    const { source, layer } = this.#options;
    return packReferenceOf(layer, source.name);
  }

  get #name(): string {
    return this.#reference.name;
  }

  #warn(error: unknown): void {
    if (!this.#abort.signal.aborted) this.#options.onWarning(error);
  }

  /** From this machine, or from the source; what comes from there is written down at once, whoever will need it. */
  async #open({ mayBeKept = true } = {}): Promise<Opened | undefined> {
    const { layer, store, mayFetch } = this.#options;
    const { descriptor } = layer;
    const kept = mayBeKept ? await openKeptPack({ descriptor, store }) : undefined;
    if (kept === undefined && !mayFetch) return undefined;
    const { signal } = this.#abort;
    this.#bytes = 0;
    const onBytes = (count: number) => this.#noteBytes(count);
    const occupy = this.#options.onRequest;
    const stream = kept ?? (await openRemotePack({ ...this.#options, descriptor, signal, occupy, onBytes }));
    try {
      const opened = { stream, pack: await openPack(stream.bytes, this.#reference) };
      if (!stream.isKept) await this.#receive(opened.pack.table);
      return opened;
    } catch (error) {
      if (!stream.isKept) throw this.#blame(stream, error);
      return this.#openAgain(error);
    }
  }

  #blame(stream: PackStream, error: unknown): unknown {
    if (isRafterError(error, 'DIGEST_MISMATCH', 'MALFORMED')) stream.distrust();
    return error;
  }

  /** Another try, from the source, when what was kept is damaged. */
  async #openAgain(error: unknown): Promise<Opened | undefined> {
    this.#warn(error);
    await this.#options.store.removeBlob(this.#options.layer.descriptor);
    this.#abort.signal.throwIfAborted();
    return this.#open({ mayBeKept: false });
  }

  /** The table, of the stream or asked for by itself, whichever comes first. UNAVAILABLE after a time. */
  async #tableSoon(): Promise<PackTable | undefined> {
    const patience =
      this.#options.source.pieceBytes === undefined ? TABLE_PATIENCE_MS : DEAR_TABLE_PATIENCE_MS;
    const stop = new AbortController();
    const { signal } = stop;
    const ofStream = this.#opening.then((opened) => opened?.pack.table);
    const late = sleep(patience, undefined, { signal }).then(() => {
      throw new RafterError('UNAVAILABLE', `${this.#name}: no table within ${patience} ms`);
    });
    try {
      return await Promise.race([ofStream, late, this.#tableAlone(signal).catch(() => ofStream)]);
    } finally {
      stop.abort();
    }
  }

  /** The table, if it is worth being asked for by itself; else that of the stream. */
  async #tableAlone(signal: AbortSignal): Promise<PackTable | undefined> {
    const { source, layer, mayFetch, onRequest, onBytes } = this.#options;
    const ofStream = this.#opening.then((opened) => opened?.pack.table);
    if (!mayFetch || source.pieceBytes === undefined || source.readFewBytes === undefined) return ofStream;
    await sleep(Math.max(0, this.#askedAt + TABLE_ALONE_MS - performance.now()), undefined, { signal });
    checkTableSize(this.#reference);
    const release = onRequest();
    try {
      const head = await source.readFewBytes(layer.descriptor, 0, layer.tableSize, signal);
      onBytes(head.length);
      return parsePackHead(head, this.#reference);
    } finally {
      release();
    }
  }

  #noteBytes(count: number): void {
    this.#bytes += count;
    this.#arrivals?.noteBytes(this.#bytes);
    this.#options.onBytes(count);
  }

  /** Begins to write what arrives to a file, if it has not begun. */
  #receive(table: PackTable): Promise<Received> {
    this.#received ??= (async () => {
      await makeDirectories(this.#options.tempDir, 0o700);
      const file = await openNameless(this.#options.tempDir);
      const ends = table.units.map((unit) => unit.storedOffset + unit.storedSize);
      const arrivals = new PieceArrivals({ ends, askedAt: this.#askedAt });
      this.#arrivals = arrivals;
      if (this.#bytes > 0) arrivals.noteBytes(this.#bytes);
      this.#running = this.#opening
        .then((opened) => opened && this.#write(opened, { file, arrivals }))
        .catch((error: unknown) => this.#warn(error))
        .finally(() => arrivals.end());
      return { file, arrivals };
    })();
    return this.#received;
  }

  async #write(opened: Opened, to: Received): Promise<void> {
    const { stream, pack } = opened;
    try {
      let index = 0;
      for await (const unit of pack.units) {
        this.#abort.signal.throwIfAborted();
        if (index >= to.arrivals.count) {
          await writeFull(to.file, unit, pack.table.units[index]!.position);
          to.arrivals.publish();
          if (!this.#isReadable) await sleep(COURTESY_MS);
        }
        index++;
      }
    } catch (error) {
      if (!stream.isKept) throw this.#blame(stream, error);
      const again = await this.#openAgain(error);
      if (again !== undefined) await this.#write(again, to);
    }
  }
}
