import { parseBootstrap } from '../../rafs/bootstrap.js';

/** How long a part of a look takes, in milliseconds: so long a reader of what is local may wait for it. */
const PART_MS = 2;

/** What the reading thread is told about a tree that is to be looked at. */
export interface TreeWork {
  name: string;
  bootstrap: SharedArrayBuffer;
}

/** A quick look at a tree in parts, for the reading thread: see `lookAtTree`. Throws what `parseBootstrap` throws. */
export function lookInParts({ name, bootstrap }: TreeWork): () => boolean | undefined {
  const look = parseBootstrap(Buffer.from(bootstrap), name).beginLook?.();
  if (look === undefined) throw new Error(`${name}: there is no quick look at it`);
  return () => look(performance.now() + PART_MS);
}
