/** Bytes that a blob may always be ahead of the largest: what is small never waits. */
const AHEAD = 4 << 20;
/** Bytes of the largest that lie here unhashed from which on it is the processors, and not the network, that it waits for. */
const BACKLOG = 1 << 20;

/** A blob that is copied together with others. */
interface PacedBlob {
  /** Tells of bytes that came; a promise if no more should be taken before it settles. */
  came(count: number): Promise<void> | undefined;
  /** Tells of bytes that are hashed. */
  done(count: number): void;
  /** The blob has ended, in whatever way; nobody waits for it or because of it any more. */
  leave(): void;
}

/** Divides the processors among blobs that are copied at the same time. */
export interface Pace {
  join(size: number): PacedBlob;
}

interface Member {
  size: number;
  came: number;
  done: number;
}

/**
 * A blob is hashed by one thread from its beginning to its end, so the largest decides when the last one is finished. If it gets as
 * much of the processors as each smaller one, they idle at the end, while it is left alone. So as long as more of it is here than its
 * thread can hash, the others go on in proportion: of each no larger part than of the largest, and a bit. Not while `isMoreToBegin`:
 * whatever is to come needs the places of those that end early.
 */
export function createPace(isMoreToBegin: () => boolean): Pace {
  const members = new Set<Member>();
  let waiting: (() => void)[] = [];

  function isAhead(own: Member): boolean {
    if (!members.has(own) || isMoreToBegin()) return false;
    const remaining = ({ size, done }: Member) => size - done;
    let largest = own;
    for (const one of members) if (remaining(one) > remaining(largest)) largest = one;
    if (largest === own || largest.came - largest.done < BACKLOG) return false;
    return own.came > AHEAD + (largest.done / largest.size) * own.size;
  }

  function goOn(): void {
    const all = waiting;
    waiting = [];
    for (const one of all) one();
  }

  async function wait(own: Member): Promise<void> {
    while (isAhead(own)) await new Promise<void>((resolve) => waiting.push(resolve));
  }

  return {
    join(size) {
      const own: Member = { size, came: 0, done: 0 };
      members.add(own);
      return {
        came(count) {
          own.came += count;
          return isAhead(own) ? wait(own) : undefined;
        },
        done(count) {
          own.done += count;
          goOn();
        },
        leave() {
          members.delete(own);
          goOn();
        },
      };
    },
  };
}
