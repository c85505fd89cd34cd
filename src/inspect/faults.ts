import { isRafterError, messageOf, type RafterError } from '../errors.js';
import { askingOthers, isGivenWrong } from '../image/asking-others.js';

/** Most faults that are kept word for word; an image of nothing but faults must not fill the memory. */
const MAX_FAULTS = 1000;

/** Where in an image a fault is. */
interface FaultPlace {
  /** Hex id. */
  blob?: string;
  /** Position in the blob's chunk infos. */
  chunk?: number;
  /** Byte offset: in the bootstrap, or among the stored bytes of the blob. */
  offset?: number;
  /** A path of the image, or one of several. */
  path?: string;
}

/** Something of an image that is not as it must be. */
export interface Fault extends FaultPlace {
  part: 'manifest' | 'config' | 'bootstrap' | 'blob' | 'content';
  message: string;
}

/** Collects faults, so that one does not hide the others. */
export interface FaultList {
  readonly faults: readonly Fault[];
  /** All faults, also those beyond the limit. */
  readonly count: number;
  /** What is odd but harms no reader. */
  readonly warnings: string[];
  add(part: Fault['part'], message: string, place?: FaultPlace): void;
  /** Warns of a server that gave wrong bytes, where others may have the right ones. */
  readAgain(error: RafterError): void;
  /** What `read` gives; if the image's bytes are wrong or missing a fault and undefined. Other errors come through. */
  guard<T>(part: Fault['part'], read: () => T, place?: FaultPlace): Awaited<T> | undefined;
  guard<T>(part: Fault['part'], read: () => Promise<T>, place?: FaultPlace): Promise<T | undefined>;
}

/** An empty list. */
export function createFaultList(): FaultList {
  const faults: Fault[] = [];
  const warnings: string[] = [];
  let count = 0;
  const add: FaultList['add'] = (part, message, place = {}) => {
    // A blob that is missing shows with every read of it.
    const last = faults.at(-1);
    if (last?.message === message && last.blob === place.blob && last.path === place.path) return;
    count++;
    if (faults.length < MAX_FAULTS) faults.push({ part, message, ...place });
  };
  const note = (error: unknown, part: Fault['part'], place?: FaultPlace): undefined => {
    if (!isDamage(error)) throw error;
    add(part, messageOf(error), place);
  };
  return {
    faults,
    get count() {
      return count;
    },
    warnings,
    add,
    readAgain(error) {
      warnings.push(`read again from another server: ${messageOf(error)}`);
    },
    guard: (part: Fault['part'], read: () => unknown, place?: FaultPlace): never => {
      try {
        const value = read();
        if (!(value instanceof Promise)) return value as never;
        return value.catch((error: unknown) => note(error, part, place)) as never;
      } catch (error) {
        return note(error, part, place) as never;
      }
    },
  };
}

/**
 * What `check` gives, done anew where a server gave wrong bytes and others may have the right ones. `faults` gets what the last try
 * found, and a warning for each such server.
 */
export async function checkAskingOthers<T>(
  faults: FaultList,
  check: (tried: FaultList) => Promise<T>,
  onAgain: () => void = () => {},
): Promise<T> {
  const work = async () => {
    const tried = createFaultList();
    return { tried, result: await check(tried) };
  };
  const { tried, result } = await askingOthers(work, (error) => {
    faults.readAgain(error);
    onAgain();
  });
  addFaults(tried, faults);
  return result;
}

/** Passes what `found` has on to `faults`. */
export function addFaults(found: FaultList, faults: FaultList): void {
  for (const { part, message, ...place } of found.faults) faults.add(part, message, place);
  faults.warnings.push(...found.warnings);
}

/** True for errors that mean wrong or missing bytes of the image, not of one server, a bad network or a wrong call. */
function isDamage(error: unknown): boolean {
  if (isGivenWrong(error)) return false;
  return isRafterError(error, 'MALFORMED', 'DIGEST_MISMATCH', 'TRUNCATED', 'LIMIT_EXCEEDED', 'NOT_FOUND');
}
