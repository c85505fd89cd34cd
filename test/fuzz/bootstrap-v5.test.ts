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
