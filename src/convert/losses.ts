import { RafterError } from '../errors.js';

/** Told about everything of the source that the image cannot hold. `message` names layer and path. */
export interface Losses {
  /** Something that means nothing outside the machine on which the layer was made: dropped, with a warning. */
  drop(message: string): void;
  /** Anything else: UNSUPPORTED, unless the user accepts losses; then dropped, with a warning. */
  lose(message: string): void;
}

/** Most warnings that are kept word for word. */
const MAX_WARNINGS = 100;

/** Collects losses in `warnings`; beyond MAX_WARNINGS only their number. */
export function collectLosses(lossy: boolean): Losses & { warnings(): string[] } {
  const kept: string[] = [];
  let more = 0;
  const drop = (message: string) => {
    if (kept.length < MAX_WARNINGS) kept.push(message);
    else more++;
  };
  return {
    drop,
    lose: (message) => {
      if (lossy) return drop(message);
      throw new RafterError('UNSUPPORTED', message);
    },
    warnings: () => (more === 0 ? kept : [...kept, `${more} more`]),
  };
}
