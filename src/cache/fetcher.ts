import { isRafterError, RafterError } from '../errors.js';
import type { BlobStorage } from './blob-storage.js';
import { type Demand, Flight, type PendingUnit } from './flight.js';
import type { ChunkInfo } from './layout.js';
import type { CacheStats } from './stats.js';
import { type DecodedUnit, decodeUnit, type Unit, unitOf } from './unit.js';

/**
 * Adjacent units of one read become one range request of at most so many stored bytes. More would make the first bytes
 * wait; a single unit may be larger.
 */
export const MAX_REQUEST_SIZE = 4 << 20;

interface Ticket {
  flight: Flight;
  pending: PendingUnit;
}

export interface FetcherOptions {
  /** Where verified chunks go; without it they are served from memory only. */
  storage: BlobStorage | undefined;
  stats: CacheStats;
  /** True if so many bytes may be written to it. */
  hasRoom: (bytes: number) => boolean;
  /** Called after chunks were written. */
  onWritten: () => void;
  /** Called after a failed write. The read that caused it succeeds. */
  onWriteError: (error: unknown) => void;
}

/** Fetches the chunks of one blob, each once, however many readers of however many images want it at the time. */
export class Fetcher {
  readonly #options: FetcherOptions;
  /** What is on its way, by chunk index and digest: images that disagree about a chunk do not share it. */
  readonly #tickets = new Map<string, Ticket>();
  readonly #running = new Set<Promise<void>>();

  constructor(options: FetcherOptions) {
    this.#options = options;
  }

  /**
   * The verified bytes of `chunks` (ascending). By then they are also in the storage, if it takes them.
   * Throws DIGEST_MISMATCH for bytes that were wrong twice, MALFORMED for a chunk without a digest, INTERRUPTED, and what
   * the source throws. Nothing of a failure is kept: the next call tries again.
   */
  async obtain(demand: Demand, chunks: ChunkInfo[], signal: AbortSignal): Promise<Buffer[]> {
    const tickets = this.#board(demand, chunks, { join: true });
    const results = chunks.map((chunk, i) => this.#await(demand, chunk, { ticket: tickets[i]!, signal }));
    return Promise.all(results);
  }

  /** Resolves when nothing is on its way any more. Call when no `obtain` is running. */
  async idle(): Promise<void> {
    await Promise.all(this.#running);
  }

  async #await(
    demand: Demand,
    chunk: ChunkInfo,
    { ticket, signal }: { ticket: Ticket; signal: AbortSignal },
  ): Promise<Buffer> {
    try {
      return await outcomeOf(ticket, chunk.index, signal);
    } catch (error) {
      const ownSource = ticket.flight.demand.bytes === demand.bytes;
      if (ownSource || isRafterError(error, 'INTERRUPTED')) throw error;
      // Another image's source failed (its registry, its credentials); this image's own may well answer.
      const [own] = this.#board(demand, [chunk], { join: false });
      return outcomeOf(own!, chunk.index, signal);
    }
  }

  /** A ticket per chunk: on flights that are under way (`join`), or on new ones. */
  #board(demand: Demand, chunks: ChunkInfo[], { join }: { join: boolean }): Ticket[] {
    const keys = chunks.map((chunk) => keyOf(demand, chunk));
    const missing = chunks.filter((_, i) => !(join && this.#tickets.has(keys[i]!)));
    for (const units of inRequests(unitsOf(demand, missing))) this.#start(demand, units);
    return keys.map((key) => this.#tickets.get(key)!);
  }

  #start(demand: Demand, units: Unit[]): void {
    const flight: Flight = new Flight(demand, units, () => {
      for (const pending of flight.units) this.#forget(flight, pending);
    });
    for (const pending of flight.units) {
      for (const member of pending.unit.members) {
        this.#tickets.set(keyOf(demand, member), { flight, pending });
      }
    }
    const running = this.#run(flight).finally(() => this.#running.delete(running));
    this.#running.add(running);
  }

  #forget(flight: Flight, { unit }: PendingUnit): void {
    for (const member of unit.members) {
      const key = keyOf(flight.demand, member);
      if (this.#tickets.get(key)?.flight === flight) this.#tickets.delete(key);
    }
  }

  async #run(flight: Flight): Promise<void> {
    const start = flight.units[0]!.unit.storedOffset;
    const end = flight.units.reduce((latest, { unit }) => Math.max(latest, endOf(unit)), start);
    const whole = this.#fetch(flight, start, end - start);
    for (const pending of flight.units) {
      try {
        const bytes = await whole;
        const { storedOffset } = pending.unit;
        const part = bytes?.subarray(storedOffset - start, endOf(pending.unit) - start);
        const decoded = await this.#decode(flight, pending.unit, part);
        await this.#store(flight, pending.unit, decoded);
        pending.resolve(decoded);
      } catch (error) {
        pending.reject(error);
      }
      this.#forget(flight, pending);
    }
  }

  /** Undefined if the source gave bytes of another length than it was asked for. */
  async #fetch(flight: Flight, offset: number, length: number): Promise<Buffer | undefined> {
    const { stats } = this.#options;
    stats.requests++;
    const bytes = await flight.read(offset, length);
    stats.fetchedBytes += bytes.length;
    return bytes.length === length ? bytes : undefined;
  }

  /** Decodes and verifies a unit; once more, with bytes fetched again, if anything in it is wrong. */
  async #decode(flight: Flight, unit: Unit, stored: Buffer | undefined): Promise<DecodedUnit> {
    const { stats } = this.#options;
    const { layout } = flight.demand;
    const first = decodeUnit(layout, unit, stored);
    if (first.bad.size === 0) return first;
    stats.decodeErrors++;
    stats.refetches++;
    let again: DecodedUnit;
    try {
      again = decodeUnit(layout, unit, await this.#fetch(flight, unit.storedOffset, unit.storedSize));
    } catch (error) {
      if (first.good.size === 0) throw error;
      return first;
    }
    if (again.bad.size > 0) stats.decodeErrors++;
    for (const [index, bytes] of first.good) {
      again.good.set(index, bytes);
      again.bad.delete(index);
    }
    return again;
  }

  async #store({ demand }: Flight, unit: Unit, { good }: DecodedUnit): Promise<void> {
    const { storage, stats, hasRoom, onWritten, onWriteError } = this.#options;
    const chunks = unit.members.flatMap((chunk) => {
      const bytes = good.get(chunk.index);
      return bytes ? [{ chunk, bytes, digest: demand.layout.chunkDigest(chunk.index)! }] : [];
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
    } catch (error) {
      stats.writeErrors++;
      onWriteError(error);
    }
  }
}

async function outcomeOf({ flight, pending }: Ticket, index: number, signal: AbortSignal): Promise<Buffer> {
  const { good, bad } = await flight.wait(pending, signal);
  const bytes = good.get(index);
  if (!bytes) throw bad.get(index);
  return bytes;
}

/** Throws MALFORMED if the layout has no digest for the chunk: nothing could be verified. */
function keyOf({ layout }: Demand, { index }: ChunkInfo): string {
  const digest = layout.chunkDigest(index);
  if (!digest)
    throw new RafterError('MALFORMED', `blob ${layout.id}: the image has no digest of chunk ${index}`);
  return `${index}:${digest.toString('latin1')}`;
}

/** The units that hold `chunks` (ascending), each once. */
function unitsOf({ layout }: Demand, chunks: ChunkInfo[]): Unit[] {
  const units: Unit[] = [];
  const covered = new Set<number>();
  for (const chunk of chunks) {
    if (covered.has(chunk.index)) continue;
    const unit = unitOf(layout, chunk);
    for (const member of unit.members) covered.add(member.index);
    units.push(unit);
  }
  return units.sort((a, b) => a.storedOffset - b.storedOffset);
}

/** Units (ascending) side by side in stored space, as many as one request may have. Slices of a gzip file may overlap. */
function inRequests(units: Unit[]): Unit[][] {
  const requests: Unit[][] = [];
  let start = 0;
  let end = -1;
  for (const unit of units) {
    const newEnd = Math.max(end, endOf(unit));
    if (unit.storedOffset <= end && newEnd - start <= MAX_REQUEST_SIZE) {
      requests.at(-1)!.push(unit);
      end = newEnd;
    } else {
      requests.push([unit]);
      start = unit.storedOffset;
      end = endOf(unit);
    }
  }
  return requests;
}

function endOf({ storedOffset, storedSize }: Unit): number {
  return storedOffset + storedSize;
}
