import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

let collect: (() => void) | undefined;

/** Collects the garbage of the calling thread, all of it, now. Needs no flag; a thread that was started with `--expose-gc` has it at hand. */
export function collectGarbage(): void {
  collect ??= globalThis.gc ?? collectorOfContext();
  collect();
}

/** The flag that V8 wants for it is set for a moment only, since bytecode that was made without it is not taken with it. */
function collectorOfContext(): () => void {
  setFlagsFromString('--expose-gc');
  const found = runInNewContext('gc') as () => void;
  setFlagsFromString('--no-expose-gc');
  return found;
}
