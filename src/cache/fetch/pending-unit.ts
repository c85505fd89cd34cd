import { RafterError } from '../../errors.js';
import type { BlobBytes } from '../blob-bytes.js';
import type { BlobLayout } from '../layout.js';
import type { DecodedUnit, Unit } from '../unit.js';
import { type FetchClass, isMoreUrgent } from './fetch-class.js';

/** For whom something is fetched: what the chunks should be, and where their bytes come from. */
export interface Demand {
  layout: BlobLayout;
  bytes: BlobBytes;
}

/** Told what becomes of a unit while it is on its way. */
export interface UnitEvents {
  /** Somebody joined for whom it is more urgent than it was for all before; `class` is already the new one. */
  onRaised: (pending: PendingUnit, before: FetchClass) => void;
  /** The last one who waited has left. */
  onLeft: (pending: PendingUnit) => void;
}

/** A unit that is to be fetched, or just is, and all that wait for it. */
export class PendingUnit {
  readonly demand: Demand;
  readonly unit: Unit;
  /** The most urgent reason of all that ever waited. */
  class: FetchClass;
  readonly #events: UnitEvents;
  readonly #decoded: Promise<DecodedUnit>;
  /** Gives the unit to those who wait. */
  resolve!: (decoded: DecodedUnit) => void;
  /** The unit's bytes cannot be had; single damaged chunks are in the result instead. */
  reject!: (error: unknown) => void;
  #waiters = 0;

  constructor(demand: Demand, unit: Unit, { class: name, ...events }: UnitEvents & { class: FetchClass }) {
    this.demand = demand;
    this.unit = unit;
    this.class = name;
    this.#events = events;
    this.#decoded = new Promise<DecodedUnit>((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
    // Whoever waits gets the error; a unit that was left by all must not end the process.
    this.#decoded.catch(() => {});
  }

  /** True if somebody waits for it. */
  get isWanted(): boolean {
    return this.#waiters > 0;
  }

  /** Waits for the unit, as one of those who keep it going. INTERRUPTED as soon as `signal` is aborted. */
  wait(name: FetchClass, signal: AbortSignal): Promise<DecodedUnit> {
    this.#waiters++;
    const before = this.class;
    if (isMoreUrgent(name, before)) {
      this.class = name;
      this.#events.onRaised(this, before);
    }
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
      this.#decoded.then(
        (result) => done(() => resolve(result)),
        (error) => done(() => reject(error)),
      );
    });
  }

  #leave(): void {
    this.#waiters--;
    if (this.#waiters === 0) this.#events.onLeft(this);
  }
}

/** The error of a read that was cancelled by its caller. */
export function interrupted(blobId: string, signal: AbortSignal): RafterError {
  return new RafterError('INTERRUPTED', `blob ${blobId}: the read was cancelled`, { cause: signal.reason });
}
