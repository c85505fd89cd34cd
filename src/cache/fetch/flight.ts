import { RafterError } from '../../errors.js';
import { type FetchClass, isMoreUrgent } from './fetch-class.js';
import type { Demand, PendingUnit } from './pending-unit.js';

/** One range request for units that are adjacent in stored space. Ends early when nobody waits for any of them. */
export class Flight {
  /** Of all its units: where the bytes come from. */
  readonly demand: Demand;
  /** In order of their place. */
  readonly units: readonly PendingUnit[];
  /** What it was begun for. */
  readonly class: FetchClass;
  readonly #abort = new AbortController();
  #reading = false;

  constructor(units: readonly PendingUnit[]) {
    this.units = units;
    this.demand = units[0]!.demand;
    this.class = units[0]!.class;
  }

  /** The most urgent reason of those who wait for one of its units. */
  get urgency(): FetchClass {
    return this.units.reduce(
      (most, pending) => (pending.isWanted && isMoreUrgent(pending.class, most) ? pending.class : most),
      this.class,
    );
  }

  /** First stored byte, and the one behind the last. */
  get range(): { start: number; end: number } {
    const start = this.units[0]!.unit.storedOffset;
    return { start, end: this.units.reduce((end, { unit }) => Math.max(end, endOf(unit)), start) };
  }

  /** Reads stored bytes for the flight. The source is told to stop when the last waiter leaves while this runs. */
  async read(offset: number, length: number): Promise<Buffer> {
    this.#reading = true;
    try {
      this.#abort.signal.throwIfAborted();
      return await this.demand.bytes.read(offset, length, this.#abort.signal, this.urgency);
    } finally {
      this.#reading = false;
    }
  }

  /** Stops reading if nobody waits any more. True if it did that now. */
  stopIfUnwanted(): boolean {
    if (!this.#reading || this.#abort.signal.aborted || this.units.some(({ isWanted }) => isWanted))
      return false;
    this.#abort.abort(new RafterError('INTERRUPTED', `${this.demand.bytes.name}: nobody waits any more`));
    return true;
  }
}

/** The first stored byte behind a unit. */
export function endOf({ storedOffset, storedSize }: { storedOffset: number; storedSize: number }): number {
  return storedOffset + storedSize;
}
