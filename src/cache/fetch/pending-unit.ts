import { RafterError } from '../../errors.js';
import type { BlobBytes } from '../blob-bytes.js';
import type { BlobLayout, ChunkInfo } from '../layout.js';
import type { DecodedUnit, Unit } from '../unit.js';
import { type FetchClass, isMoreUrgent } from './fetch-class.js';

/** For whom something is fetched: what the chunks should be, and where their bytes come from. */
export interface Demand {
  layout: BlobLayout;
  bytes: BlobBytes;
}

/** For what chunks are obtained, and what ends the waiting for them. */
export interface ObtainOptions {
  class: FetchClass;
  signal: AbortSignal;
  /** Given the verified bytes of each chunk, in any order. They are somebody else's again when it returns. */
  take?: (chunk: ChunkInfo, bytes: Buffer) => void;
}

/** Told what becomes of a unit while it is on its way. */
export interface UnitEvents {
  /** Somebody joined for whom it is more urgent than it was for all before; `class` is already the new one. */
  onRaised: (pending: PendingUnit, before: FetchClass) => void;
  /** The last one who waited has left. */
  onLeft: (pending: PendingUnit) => void;
}

/** Somebody who waits for a unit. */
interface Waiter {
  resolve: (decoded: DecodedUnit) => void;
  reject: (error: unknown) => void;
}

/** A unit that is to be fetched, or just is, and all that wait for it. */
export class PendingUnit {
  readonly demand: Demand;
  readonly unit: Unit;
  /** The most urgent reason of all that ever waited. */
  class: FetchClass;
  readonly #events: UnitEvents;
  readonly #waiters = new Set<Waiter>();
  /** What whoever comes too late is told. */
  #over: { error: unknown } | undefined;

  constructor(demand: Demand, unit: Unit, { class: name, ...events }: UnitEvents & { class: FetchClass }) {
    this.demand = demand;
    this.unit = unit;
    this.class = name;
    this.#events = events;
  }

  /** True if somebody waits for it. */
  get isWanted(): boolean {
    return this.#waiters.size > 0;
  }

  /** Gives the unit to those who wait. When this returns, all of them have taken what they want of it. */
  resolve(decoded: DecodedUnit): void {
    this.#over = { error: new Error('the unit was given to those who waited') };
    for (const { resolve } of [...this.#waiters]) resolve(decoded);
  }

  /** The unit's bytes cannot be had; single damaged chunks are in the result instead. */
  reject(error: unknown): void {
    this.#over = { error };
    for (const { reject } of [...this.#waiters]) reject(error);
  }

  /**
   * Waits for the unit, as one of those who keep it going, and has the bytes of `chunk` taken. Rejects with what is wrong with them, and
   * with INTERRUPTED as soon as `signal` is aborted; nothing is taken after that.
   */
  take(chunk: ChunkInfo, { class: name, signal, take }: ObtainOptions): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#over) return reject(this.#over.error);
      const leave = () => {
        signal.removeEventListener('abort', cancel);
        this.#waiters.delete(waiter);
        if (this.#waiters.size === 0) this.#events.onLeft(this);
      };
      const cancel = () => {
        leave();
        reject(interrupted(this.demand.layout.id, signal));
      };
      const waiter: Waiter = {
        resolve({ good, bad }) {
          leave();
          const bytes = good.get(chunk.index);
          if (bytes === undefined) return reject(bad.get(chunk.index));
          take?.(chunk, bytes);
          resolve();
        },
        reject(error) {
          leave();
          reject(error);
        },
      };
      this.#waiters.add(waiter);
      const before = this.class;
      if (isMoreUrgent(name, before)) {
        this.class = name;
        this.#events.onRaised(this, before);
      }
      if (signal.aborted) cancel();
      else signal.addEventListener('abort', cancel, { once: true });
    });
  }
}

/** The error of a read that was cancelled by its caller. */
export function interrupted(blobId: string, signal: AbortSignal): RafterError {
  return new RafterError('INTERRUPTED', `blob ${blobId}: the read was cancelled`, { cause: signal.reason });
}
