import { expect, it } from 'vitest';
import { createPace } from '../../src/transports/pace.js';

const MIB = 1 << 20;

/** A large blob of which more is here than was hashed, and a smaller one. */
function busyPair(isMoreToBegin: () => boolean = () => false) {
  const pace = createPace(isMoreToBegin);
  const [large, small] = [pace.join(100 * MIB), pace.join(50 * MIB)];
  large.came(2 * MIB);
  return { pace, large, small };
}

/** Whether `turn` has come by now. */
async function hasCome(turn: Promise<void> | undefined): Promise<boolean> {
  return (
    turn === undefined ||
    Promise.race([turn.then(() => true), new Promise<false>((r) => setImmediate(r, false))])
  );
}

it('lets a smaller blob wait until as large a part of the largest is done', async () => {
  const { large, small } = busyPair();
  expect(small.came(4 * MIB)).toBeUndefined();
  const turn = small.came(2 * MIB);
  large.came(20 * MIB);
  large.done(3 * MIB);
  expect(await hasCome(turn)).toBe(false);
  large.done(1 * MIB);
  expect(await hasCome(turn)).toBe(true);
});

it('never lets the largest wait, nor any while more of it is hashed than came', () => {
  const pace = createPace(() => false);
  const [large, small] = [pace.join(100 * MIB), pace.join(99 * MIB)];
  expect(large.came(50 * MIB)).toBeUndefined();
  large.done(50 * MIB);
  // Now the other one has more before it, and all that came of it is done.
  expect(small.came(10 * MIB)).toBeUndefined();
  small.done(10 * MIB);
  expect(large.came(20 * MIB)).toBeUndefined();
});

it('lets all go on that wait when the largest ends, when what waits ends, and when its network is slow', async () => {
  const one = busyPair();
  const turn = one.small.came(10 * MIB);
  expect(await hasCome(turn)).toBe(false);
  one.large.leave();
  expect(await hasCome(turn)).toBe(true);

  const two = busyPair();
  const other = two.small.came(10 * MIB);
  two.small.leave();
  expect(await hasCome(other)).toBe(true);
  expect(two.small.came(10 * MIB)).toBeUndefined();

  const three = busyPair();
  const third = three.small.came(10 * MIB);
  three.large.done(2 * MIB);
  expect(await hasCome(third)).toBe(true);
});

it('lets nobody wait whose place another blob needs', async () => {
  let isMore = true;
  const { large, small } = busyPair(() => isMore);
  expect(small.came(10 * MIB)).toBeUndefined();
  isMore = false;
  const turn = small.came(1);
  expect(await hasCome(turn)).toBe(false);
  isMore = true;
  large.done(1);
  expect(await hasCome(turn)).toBe(true);
});
