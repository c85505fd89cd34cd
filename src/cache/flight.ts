import { RafterError } from '../errors.js';
import type { BlobBytes } from './blob-bytes.js';
import type { BlobLayout } from './layout.js';
import type { DecodedUnit, Unit } from './unit.js';

/** For whom something is fetched: what the chunks should be, and where their bytes come from. */
export interface Demand {
  layout: BlobLayout;
  bytes: BlobBytes;
}

/** A unit on its way. Rejects if its bytes cannot be had; single damaged chunks are in the result. */
export interface PendingUnit {
  unit: Unit;
  decoded: Promise<DecodedUnit>;
  resolve: (decoded: DecodedUnit) => void;
  reject: (error: unknown) => void;
}

/** One range request and all that wait for its units. Ends early when the last of them leaves. */
export class Flight {
  readonly demand: Demand;
  readonly units: PendingUnit[];
  readonly #abort = new AbortController();
  readonly #onAbandoned: () => void;
  #waiters = 0;
  #reading = false;

  /** `units` are adjacent in stored space, in order. `onAbandoned` is called at most once, when nobody waits any more. */
  constructor(demand: Demand, units: Unit[], onAbandoned: () => void) {
    this.demand = demand;
    this.units = units.map(pending);
    this.#onAbandoned = onAbandoned;
  }

  /** Reads stored bytes for the flight. The source is told to stop when the last waiter leaves while this runs. */
  async read(offset: number, length: number): Promise<Buffer> {
    this.#reading = true;
    try {
      this.#abort.signal.throwIfAborted();
      return await this.demand.bytes.read(offset, length, this.#abort.signal);
    } finally {
      this.#reading = false;
    }
  }

  /** Waits for a unit of this flight, as one of those who keep it going. INTERRUPTED as soon as `signal` is aborted. */
  wait({ decoded }: PendingUnit, signal: AbortSignal): Promise<DecodedUnit> {
    this.#waiters++;
    return new Promise<DecodedUnit>((resolve, reject) => {
      const cancel = () => {
        this.#leave();
        reject(interrupted(this.demand.layout.id, signal));
      };
      const done = (settle: () => void) => {
        if (signal.aborted) return;
        signal.removeEventListener('abort', cancel);
        this.#leave();
        settle();
      };
      if (signal.aborted) return cancel();
      signal.addEventListener('abort', cancel, { once: true });
      decoded.then(
        (result) => done(() => resolve(result)),
        (error) => done(() => reject(error)),
      );
    });
  }

  #leave(): void {
    this.#waiters--;
    if (this.#waiters > 0 || !this.#reading || this.#abort.signal.aborted) return;
    this.#abort.abort(new RafterError('INTERRUPTED', `${this.demand.bytes.name}: nobody waits any more`));
    this.#onAbandoned();
  }
}

/** The error of a read that was cancelled by its caller. */
export function interrupted(blobId: string, signal: AbortSignal): RafterError {
  return new RafterError('INTERRUPTED', `blob ${blobId}: the read was cancelled`, { cause: signal.reason });
}

function pending(unit: Unit): PendingUnit {
  let resolve!: PendingUnit['resolve'];
  let reject!: PendingUnit['reject'];
  const decoded = new Promise<DecodedUnit>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  // Whoever waits gets the error; a flight that was left by all must not end the process.
  decoded.catch(() => {});
  return { unit, decoded, resolve, reject };
}
