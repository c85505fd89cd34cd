import { setFlagsFromString } from 'node:v8';

// undici's parser of HTTP is WebAssembly. V8 would compile it a second time, optimized, which needs 30 MB and more CPU time than the
// parser itself has to do in a transfer of gigabytes: bodies pass it in one step. To be imported before undici.
setFlagsFromString('--liftoff-only');
