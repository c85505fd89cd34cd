import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { collectGarbage } from '../../src/os/collect-garbage.js';

it('forgets what nobody holds, each time', async () => {
  for (let time = 0; time < 2; time++) {
    const forgotten = new WeakRef(Buffer.alloc(1 << 20));
    // A reference that was just made or looked at holds what it refers to until the turn is over.
    await nextTurn();
    collectGarbage();
    expect(forgotten.deref()).toBeUndefined();
  }
});
