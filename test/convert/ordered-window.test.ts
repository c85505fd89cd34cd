import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { OrderedWindow } from '../../src/convert/ordered-window.js';

describe('an ordered window', () => {
  it('uses results in the order in which work was added, whenever they are ready', async () => {
    const window = new OrderedWindow(1000);
    const used: number[] = [];
    for (const ms of [30, 1, 20, 0, 10]) {
      await window.add(
        1,
        () => delay(ms, ms),
        async (value) => void used.push(value),
      );
    }
    await window.finish();
    expect(used).toEqual([30, 1, 20, 0, 10]);
  });

  it('keeps within its limit, and lets a larger piece in alone', async () => {
    const window = new OrderedWindow(10);
    let running = 0;
    let most = 0;
    for (const size of [4, 4, 4, 25, 4, 4]) {
      await window.add(
        size,
        async () => {
          running += size;
          most = Math.max(most, size === 25 ? running - 25 : running);
          await delay(2);
        },
        async () => {
          running -= size;
        },
      );
    }
    await window.finish();
    expect(most).toBe(8);
    expect(running).toBe(0);
  });

  it('runs work side by side', async () => {
    const window = new OrderedWindow(3);
    let running = 0;
    let most = 0;
    for (let i = 0; i < 9; i++) {
      const work = async () => {
        most = Math.max(most, ++running);
        await delay(3);
        running--;
      };
      await window.add(1, work, async () => {});
    }
    await window.finish();
    expect(most).toBe(3);
  });

  it('throws what work threw, in its turn, and nothing is left unhandled', async () => {
    const window = new OrderedWindow(10);
    const used: string[] = [];
    const use = async (value: string) => void used.push(value);
    await window.add(1, () => delay(10, 'first'), use);
    await window.add(1, () => Promise.reject(new Error('second failed')), use);
    await window.add(1, () => Promise.reject(new Error('third failed too')), use);
    await delay(1);
    await expect(window.finish()).rejects.toThrow('second failed');
    expect(used).toEqual(['first']);
  });

  it('throws what a use threw, to the one who adds', async () => {
    const window = new OrderedWindow(1);
    await window.add(
      1,
      async () => 1,
      () => Promise.reject(new Error('disk full')),
    );
    await expect(
      window.add(
        1,
        async () => 2,
        async () => {},
      ),
    ).rejects.toThrow('disk full');
  });
});
