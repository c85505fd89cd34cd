import { checkTree } from '../../src/inspect/check-tree.js';
import { checkInodesV5, chunkTableOfV5 } from '../../src/inspect/check-v5.js';
import { createFaultList } from '../../src/inspect/faults.js';
import { parseBootstrap } from '../../src/rafs/bootstrap.js';
import { BootstrapV5 } from '../../src/rafs/v5/bootstrap-v5.js';
import { golden } from '../rafs/golden.js';
import { readAll } from '../rafs/v5/read-all.js';
import { fuzz } from '../support/fuzz.js';
import { mutate, overwrite, placesOf } from '../support/mutate.js';

const small = golden('v5/small.boot');
const smallPlaces = placesOf(small);
const full = golden('v5/full.boot');
/** Superblock, tables and the first inodes: damage there is what a reader meets first. */
const fullPlaces = placesOf(full.subarray(0, 0x4000));

fuzz('a damaged RAFS v5 bootstrap', {
  name: 'fuzzed.boot',
  run: (next) => {
    const damaged =
      next(2) === 0
        ? overwrite(small, smallPlaces, next)
        : mutate(small, next, { places: smallPlaces, unit: 8 });
    readAll(damaged, 'fuzzed.boot');
  },
});

fuzz('a damaged RAFS v5 bootstrap of three layers', {
  name: 'fuzzed.boot',
  run: (next) => void readAll(mutate(full, next, { places: fullPlaces, unit: 8 }), 'fuzzed.boot'),
});

fuzz('the check of a damaged RAFS v5 bootstrap', {
  name: 'fuzzed.boot',
  run: (next) => {
    const bootstrap = parseBootstrap(overwrite(small, smallPlaces, next), 'fuzzed.boot');
    if (!(bootstrap instanceof BootstrapV5)) throw new Error('it is none of RAFS v5');
    const faults = createFaultList();
    const table = chunkTableOfV5(bootstrap);
    checkInodesV5(bootstrap, faults);
    checkTree(bootstrap, faults, ({ blobIndex, chunkIndex }) => {
      if (!table.find(blobIndex, chunkIndex)) throw new Error('a chunk of a file has no row');
    });
  },
});
