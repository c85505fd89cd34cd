import { expect, it } from 'vitest';
import { optionalLibrary } from '../../src/os/optional-library.js';

it('binds a library once, when it is needed first', () => {
  let times = 0;
  const library = optionalLibrary(() => ({ times: ++times }));
  expect(times).toBe(0);
  expect([library(), library()]).toEqual([{ times: 1 }, { times: 1 }]);
});

it('does not try again what is not there', () => {
  let times = 0;
  const library = optionalLibrary(() => {
    times++;
    throw new Error('cannot open shared object file');
  });
  expect([library(), library()]).toEqual([undefined, undefined]);
  expect(times).toBe(1);
});
