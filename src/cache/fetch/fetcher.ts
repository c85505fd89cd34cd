import { isRafterError, RafterError } from '../../errors.js';
import { Borrowed, giveMemoryBack } from '../../os/spare-memory.js';
import type { ChunkCopier } from '../chunk-copier.js';
import type { ChunkInfo } from '../layout.js';
import type { CacheStats } from '../stats.js';
import type { BlobStorage } from '../storage/blob-storage.js';
import { companionsOf } from '../storage/companions.js';
import { type DecodedUnit, decodeUnitAside, type Unit, unitsOf } from '../unit.js';
import type { FetchClass } from './fetch-class.js';
import { endOf, type Flight } from './flight.js';
import { observe } from './histogram.js';
import { type Demand, type ObtainOptions, PendingUnit } from './pending-unit.js';
import type { FetchScheduler } from './scheduler.js';

/** How often bytes that are wrong are fetched again, each time from somebody else. */
const MAX_REFETCHES = 8;

/** A unit that somebody waits for. */
interface Ticket {
  pending: PendingUnit;
  /** It was on its way, or queued, for somebody else. */
  joined: boolean;
}

export interface FetcherOptions {
  /** Where verified chunks go; without it they are served from memory only. */
  storage: BlobStorage | undefined;
  stats: CacheStats;
  scheduler: FetchScheduler;
  /** Name of the blob's files, and what finds its chunks in other blobs. */
  stem: string;
  copier: ChunkCopier;
  /** True if so many bytes may be written to it. */
  hasRoom: (bytes: number) => boolean;
  /** True if so many bytes can be kept that nobody asked for: without giving back others for them. */
  fits: (bytes: number) => boolean;
  /** Called after chunks were written. */
  onWritten: () => void;
  /** Called after a failed write. The read that caused it succeeds. */
  onWriteError: (error: unknown) => void;
}

/** Fetches the chunks of one blob, each once, however many readers of however many images want it at the time. */
export class Fetcher {
  readonly #options: FetcherOptions;
  /** What is queued or on its way, by chunk index and digest: images that disagree about a chunk do not share it. */
  readonly #pending = new Map<string, PendingUnit>();
  readonly #flights = new Map<PendingUnit, Flight>();
  readonly #running = new Set<Promise<void>>();

  constructor(options: FetcherOptions) {
    this.#options = options;
  }

  /**
   * Fetches and verifies `chunks` (ascending), and gives their bytes to `options.take`. In the end they are also in the storage, if it
   * takes them.
   * Throws DIGEST_MISMATCH for bytes that were wrong twice, MALFORMED for a chunk without a digest, INTERRUPTED, and what
   * the source throws. Nothing of a failure is kept: the next call tries again.
   */
  async obtain(demand: Demand, chunks: ChunkInfo[], options: ObtainOptions): Promise<void> {
    const start = performance.now();
    const copies = await this.#copyAll(demand, chunks);
    const missing = chunks.filter((chunk) => !copies?.has(chunk));
    if (!options.signal.aborted) for (const [chunk, bytes] of copies ?? []) options.take?.(chunk, bytes);
    const tickets = this.#board(demand, missing, options);
    await Promise.all(
      missing.map((chunk, i) => this.#await(demand, chunk, { ticket: tickets[i]!, options })),
    );
    if (options.class === 'demand')
      observe(this.#options.scheduler.stats.demandWait, (performance.now() - start) / 1000);
  }

  /** Resolves when nothing is on its way any more; what was to be read along is given up. Call when no `obtain` is running. */
  async idle(): Promise<void> {
    for (const pending of new Set(this.#pending.values())) this.#leave(pending);
    await Promise.all(this.#running);
  }

  /** Those of `chunks` that another blob has; undefined if it is none. */
  async #copyAll(demand: Demand, chunks: ChunkInfo[]): Promise<Map<ChunkInfo, Buffer> | undefined> {
    const { copier, stem, stats } = this.#options;
    const candidates = chunks.filter(
      (chunk) => copier.mayCopy(stem, demand.layout, chunk) && !this.#pending.has(keyOf(demand, chunk)),
    );
    if (candidates.length === 0) return undefined;
    const copies = await copier.copyAll(stem, demand.layout, candidates);
    stats.copied += copies.size;
    demand.bytes.onCopied?.([...copies.keys()].reduce((sum, { size }) => sum + size, 0));
    const good = new Map([...copies].map(([{ index }, bytes]) => [index, bytes]));
    await this.#store(demand, [...copies.keys()], good);
    return copies;
  }

  async #await(
    demand: Demand,
    chunk: ChunkInfo,
    { ticket, options }: { ticket: Ticket; options: ObtainOptions },
  ): Promise<void> {
    try {
      await ticket.pending.take(chunk, options);
    } catch (error) {
      if (isRafterError(error, 'INTERRUPTED') && options.signal.aborted) throw error;
      const isOwnSource = ticket.pending.demand.bytes === demand.bytes;
      // Another image's source failed (its registry, its credentials); this image's own may well answer.
      const join = isOwnSource;
      // One's own had little patience left when this reader came, or nobody who began it waited any more.
      const isLate = isRafterError(error) && (error.temporary || error.code === 'INTERRUPTED');
      if (!ticket.joined || (isOwnSource && !isLate)) throw error;
      const [again] = this.#board(demand, [chunk], options, { join });
      return this.#await(demand, chunk, { ticket: again!, options });
    }
  }

  /** A ticket per chunk: for units that are under way, unless not to `join` them, or for new ones. */
  #board(
    demand: Demand,
    chunks: ChunkInfo[],
    { class: name }: ObtainOptions,
    { join = true }: { join?: boolean } = {},
  ): Ticket[] {
    const keys = chunks.map((chunk) => keyOf(demand, chunk));
    const isUnderWay = keys.map((key) => join && this.#pending.has(key));
    const missing = chunks.filter((_, i) => !isUnderWay[i]);
    const begun = unitsOf(demand.layout, missing).map((unit) => this.#create(demand, unit, name));
    const tickets = keys.map((key, i) => ({ pending: this.#pending.get(key)!, joined: isUnderWay[i]! }));
    const along = this.#readAlong(demand, missing).map((unit) => this.#create(demand, unit, name));
    this.#options.scheduler.add([...begun, ...along], this);
    return tickets;
  }

  /** Units that are not here and that cost nothing more when those of `missing` are read; none if they could not be kept. */
  #readAlong(demand: Demand, missing: readonly ChunkInfo[]): Unit[] {
    const { layout, bytes } = demand;
    const { pieceBytes } = bytes;
    const { storage, copier, stem, fits } = this.#options;
    if (pieceBytes === undefined || storage === undefined || missing.length === 0) return [];
    const chunks = companionsOf(layout, missing, pieceBytes).filter((chunk) => {
      const digest = layout.chunkDigest(chunk.index);
      if (digest === undefined || storage.holds(chunk.index, digest)) return false;
      return !this.#pending.has(keyOf(demand, chunk)) && !copier.mayCopy(stem, layout, chunk);
    });
    return fits(chunks.reduce((sum, { size }) => sum + size, 0)) ? unitsOf(layout, chunks) : [];
  }

  #create(demand: Demand, unit: Unit, name: FetchClass): PendingUnit {
    const { scheduler } = this.#options;
    const pending = new PendingUnit(demand, unit, {
      class: name,
      onRaised: (raised, before) => scheduler.raise(raised, before),
      onLeft: (left) => this.#leave(left),
    });
    for (const member of unit.members) this.#pending.set(keyOf(demand, member), pending);
    return pending;
  }

  #leave(pending: PendingUnit): void {
    const { scheduler } = this.#options;
    const flight = this.#flights.get(pending);
    if (flight === undefined) {
      if (!scheduler.remove(pending)) return;
      this.#forget(pending);
      pending.reject(new RafterError('INTERRUPTED', `${pending.demand.bytes.name}: nobody waits any more`));
    } else if (flight.stopIfUnwanted()) {
      for (const each of flight.units) this.#forget(each);
    } else scheduler.relax(pending);
  }

  #forget(pending: PendingUnit): void {
    this.#flights.delete(pending);
    for (const member of pending.unit.members) {
      const key = keyOf(pending.demand, member);
      if (this.#pending.get(key) === pending) this.#pending.delete(key);
    }
  }

  /** Carries out what the scheduler has put together; see `FlightRunner`. */
  run(flight: Flight, landed: () => void): Promise<void> {
    for (const pending of flight.units) this.#flights.set(pending, flight);
    const running = this.#run(flight, landed).finally(() => this.#running.delete(running));
    this.#running.add(running);
    return running;
  }

  async #run(flight: Flight, landed: () => void): Promise<void> {
    const { start, end } = flight.range;
    const whole = this.#fetch(flight, start, end - start).finally(landed);
    await whole.catch(() => {});
    // What was read along waits for what somebody waits for.
    const units = [...flight.units].sort((a, b) => Number(b.isWanted) - Number(a.isWanted));
    for (const pending of units) {
      const memory = new Borrowed();
      try {
        const bytes = await whole;
        const { storedOffset } = pending.unit;
        const part = bytes?.subarray(storedOffset - start, endOf(pending.unit) - start);
        const decoded = await this.#decode(flight, pending.unit, { part, whole: bytes, memory });
        await this.#store(pending.demand, pending.unit.members, decoded.good);
        this.#forget(pending);
        pending.resolve(decoded);
      } catch (error) {
        this.#forget(pending);
        pending.reject(error);
      }
      memory.giveBack();
    }
    const bytes = await whole.catch(() => undefined);
    if (bytes) giveMemoryBack(bytes);
  }

  /** Undefined if the source gave bytes of another length than it was asked for. */
  async #fetch(flight: Flight, offset: number, length: number): Promise<Buffer | undefined> {
    const { stats, scheduler } = this.#options;
    const ofClass = scheduler.stats.classes[flight.class];
    stats.requests++;
    ofClass.requests++;
    const bytes = await flight.read(offset, length);
    stats.fetchedBytes += bytes.length;
    ofClass.fetchedBytes += bytes.length;
    return bytes.length === length ? bytes : undefined;
  }

  /**
   * Decodes and verifies a unit; if anything in it is wrong, once more with bytes fetched again, and again as long as others are asked
   * for them.
   */
  async #decode(
    flight: Flight,
    unit: Unit,
    { part, whole, memory }: { part: Buffer | undefined; whole: Buffer | undefined; memory: Borrowed },
  ): Promise<DecodedUnit> {
    const { stats } = this.#options;
    const { layout, bytes } = flight.demand;
    const decoded = await decodeUnitAside(layout, unit, part, memory);
    let given = whole;
    for (let refetches = 0; decoded.bad.size > 0; refetches++) {
      stats.decodeErrors++;
      const asksAnother = given !== undefined && bytes.distrust?.(given) === true;
      if (refetches > 0 && (!asksAnother || refetches === MAX_REFETCHES)) break;
      stats.refetches++;
      try {
        given = await this.#fetch(flight, unit.storedOffset, unit.storedSize);
        if (given !== undefined) memory.add(given);
      } catch (error) {
        if (decoded.good.size === 0) throw error;
        break;
      }
      const again = await decodeUnitAside(layout, unit, given, memory);
      for (const [index, chunk] of again.good) {
        decoded.good.set(index, chunk);
        decoded.bad.delete(index);
      }
    }
    return decoded;
  }

  async #store(
    { layout }: Demand,
    members: readonly ChunkInfo[],
    good: ReadonlyMap<number, Buffer>,
  ): Promise<void> {
    const { storage, stats, stem, copier, hasRoom, onWritten, onWriteError } = this.#options;
    const chunks = members.flatMap((chunk) => {
      const bytes = good.get(chunk.index);
      return bytes ? [{ chunk, bytes, digest: layout.chunkDigest(chunk.index)! }] : [];
    });
    if (!storage) return;
    if (!hasRoom(chunks.reduce((sum, { bytes }) => sum + bytes.length, 0))) {
      stats.notKept += chunks.length;
      return;
    }
    try {
      const before = stats.storedBytes;
      await storage.store(chunks);
      if (stats.storedBytes > before) onWritten();
      for (const { chunk, digest } of chunks) copier.note(stem, chunk, digest);
    } catch (error) {
      stats.writeErrors++;
      onWriteError(error);
    }
  }
}

/** Throws MALFORMED if the layout has no digest for the chunk: nothing could be verified. */
function keyOf({ layout }: Demand, { index }: ChunkInfo): string {
  const digest = layout.chunkDigest(index);
  if (!digest)
    throw new RafterError('MALFORMED', `blob ${layout.id}: the image has no digest of chunk ${index}`);
  return `${index}:${digest.toString('latin1')}`;
}
