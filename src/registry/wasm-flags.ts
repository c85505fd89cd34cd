import { setFlagsFromString } from 'node:v8';

let isSet = false;

/**
 * To be called before the first connection, when undici compiles its parser of HTTP, which is WebAssembly: V8 would compile it a second
 * time, optimized, which needs 30 MB and more CPU time than the parser itself has to do in a transfer of gigabytes, as bodies pass it
 * in one step. Not earlier: V8 takes bytecode, ours and that of Node.js, only under the flags with which it was made.
 */
export function compileWasmOnce(): void {
  if (!isSet) setFlagsFromString('--liftoff-only');
  isSet = true;
}
