import { CLASS_LIMITS, FETCH_CLASSES, type FetchClass, isMoreUrgent } from './fetch-class.js';
import { type FetchStats, noFetchStats } from './fetch-stats.js';
import { endOf, Flight } from './flight.js';
import type { PendingUnit } from './pending-unit.js';

/** What carries out the requests of one blob. */
export interface FlightRunner {
  /** Reads and delivers the units of a flight, and calls `landed` as soon as their bytes have come or failed. Never rejects. */
  run(flight: Flight, landed: () => void): Promise<void>;
}

interface Queued {
  pending: PendingUnit;
  runner: FlightRunner;
}

/** What goes on with one registry host. */
interface Host {
  queues: Record<FetchClass, Map<PendingUnit, Queued>>;
  flights: Set<Flight>;
  /** What is fetched from it otherwise. */
  streams: Set<{ class: FetchClass }>;
}

/**
 * Decides when what is fetched, for all blobs of a node. Demand begins at once, whatever else is on its way; the other
 * classes begin nothing while something more urgent is fetched from the same registry host. Each class has so many requests
 * in flight to a host (`CLASS_LIMITS`); what must wait for one of them to end is merged with its neighbours in the blob.
 */
export class FetchScheduler {
  readonly stats: FetchStats = noFetchStats();
  readonly #hosts = new Map<string, Host>();

  /** Queues units that nobody fetches yet, and begins what may begin: those side by side as one request. */
  add(pendings: readonly PendingUnit[], runner: FlightRunner): void {
    for (const pending of pendings)
      this.#hostNamed(nameOf(pending)).queues[pending.class].set(pending, { pending, runner });
    for (const name of new Set(pendings.map(nameOf))) this.#pump(name);
  }

  /** Lets a unit whose class was `before` take its place among the more urgent ones. One that is on its way stays there. */
  raise(pending: PendingUnit, before: FetchClass): void {
    const { queues } = this.#hostNamed(nameOf(pending));
    const queued = queues[before].get(pending);
    if (queued === undefined) return;
    queues[before].delete(pending);
    queues[pending.class].set(pending, queued);
    this.#pump(nameOf(pending));
  }

  /** Takes a unit out of the queue. False if it is not there: it is on its way, or done. */
  remove(pending: PendingUnit): boolean {
    const name = nameOf(pending);
    const removed = this.#hosts.get(name)?.queues[pending.class].delete(pending) ?? false;
    if (removed) this.#pump(name);
    return removed;
  }

  /**
   * Says that something else is being fetched from `host`, for the reason `name`, that is none of this scheduler's requests: what is less
   * urgent begins nothing there until the returned function is called. Calling it again does nothing.
   */
  occupy(host: string | undefined, name: FetchClass): () => void {
    const key = host ?? '';
    const stream = { class: name };
    this.#hostNamed(key).streams.add(stream);
    return () => {
      if (this.#hosts.get(key)?.streams.delete(stream)) this.#pump(key);
    };
  }

  /** Looks again what may begin: less may be urgent than before. */
  relax(pending: PendingUnit): void {
    this.#pump(nameOf(pending));
  }

  #hostNamed(name: string): Host {
    let host = this.#hosts.get(name);
    if (host === undefined) {
      const queues = Object.fromEntries(FETCH_CLASSES.map((each) => [each, new Map()]));
      host = { queues: queues as Host['queues'], flights: new Set(), streams: new Set() };
      this.#hosts.set(name, host);
    }
    return host;
  }

  #pump(name: string): void {
    const host = this.#hosts.get(name);
    if (host === undefined) return;
    for (const each of FETCH_CLASSES) {
      const queue = host.queues[each];
      while (queue.size > 0 && mayBegin(host, each)) {
        const [first] = queue.values();
        const merged = withNeighbours(first!, queue);
        for (const pending of merged) queue.delete(pending);
        this.#begin(host, new Flight(merged), first!.runner);
      }
    }
    const { flights, streams, queues } = host;
    if (flights.size + streams.size === 0 && FETCH_CLASSES.every((each) => queues[each].size === 0))
      this.#hosts.delete(name);
  }

  #begin(host: Host, flight: Flight, runner: FlightRunner): void {
    host.flights.add(flight);
    void runner.run(flight, () => {
      host.flights.delete(flight);
      this.#pump(nameOf(flight.units[0]!));
    });
  }
}

function nameOf({ demand }: PendingUnit): string {
  return demand.bytes.host ?? '';
}

function mayBegin({ flights, streams }: Host, name: FetchClass): boolean {
  for (const stream of streams) if (isMoreUrgent(stream.class, name)) return false;
  const { requests, yieldsToJoined } = CLASS_LIMITS[name];
  let own = 0;
  for (const flight of flights) {
    if (flight.class === name) own++;
    const joined = flight.class === name && !yieldsToJoined;
    if (!joined && isMoreUrgent(flight.urgency, name)) return false;
  }
  return own < requests;
}

/** `first` and what of `queue` lies beside it in the stored blob, in order, as much as one request may have. */
function withNeighbours({ pending: first, runner }: Queued, queue: Map<PendingUnit, Queued>): PendingUnit[] {
  const { requestBytes } = CLASS_LIMITS[first.class];
  const same = [...queue.values()].filter(
    (other) => other.runner === runner && other.pending.demand.bytes === first.demand.bytes,
  );
  const ordered = same
    .map(({ pending }) => pending)
    .sort((a, b) => a.unit.storedOffset - b.unit.storedOffset);
  const at = ordered.indexOf(first);
  const merged = [first];
  let start = first.unit.storedOffset;
  let end = endOf(first.unit);
  for (const next of ordered.slice(at + 1)) {
    // Slices of a gzip file may overlap.
    const newEnd = Math.max(end, endOf(next.unit));
    if (next.unit.storedOffset > end || newEnd - start > requestBytes) break;
    merged.push(next);
    end = newEnd;
  }
  for (const previous of ordered.slice(0, at).reverse()) {
    const { storedOffset } = previous.unit;
    const newEnd = Math.max(end, endOf(previous.unit));
    if (endOf(previous.unit) < start || newEnd - storedOffset > requestBytes) break;
    merged.unshift(previous);
    start = storedOffset;
    end = newEnd;
  }
  return merged;
}
