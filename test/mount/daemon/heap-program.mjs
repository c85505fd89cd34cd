// A process of its own has nothing else on its heap. Prints how much of it there is, and how much when memory was given back.
import { releaseMemory } from '../../../dist/mount/daemon/memory-release.js';

const heap = () => process.memoryUsage().heapTotal;
const all = Array.from({ length: 600_000 }, (_, i) => ({ number: i, more: [i] }));
globalThis.kept = all.filter((_, i) => i % 5 < 2);
all.length = 0;
// V8 by itself does not mind pages that are 40 % full.
for (let i = 0; i < 3; i++) gc();
const full = heap();
// It joins no more than some megabytes of them at a time.
for (let i = 0; i < 4; i++) releaseMemory();
console.log(JSON.stringify({ full, released: heap() }));
