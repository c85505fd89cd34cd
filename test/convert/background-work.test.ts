import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { BackgroundWork } from '../../src/convert/background-work.js';

describe('background work', () => {
  it('goes on beside its caller, one piece at a time and in order', async () => {
    const work = new BackgroundWork();
    const events: string[] = [];
    for (const name of ['one', 'two']) {
      await work.begin(async () => {
        events.push(`${name} begins`);
        await delay(20);
        events.push(`${name} ends`);
      });
      events.push(`after ${name}`);
    }
    await work.finish();
    expect(events).toEqual(['one begins', 'after one', 'one ends', 'two begins', 'after two', 'two ends']);
  });

  it('throws what went wrong at the next call, and begins nothing more', async () => {
    const work = new BackgroundWork();
    await work.begin(() => delay(5).then(() => Promise.reject(new Error('connection lost'))));
    let begun = false;
    const next = work.begin(async () => {
      begun = true;
    });
    await expect(next).rejects.toThrow('connection lost');
    expect(begun).toBe(false);
    await expect(work.finish()).rejects.toThrow('connection lost');
    await work.settle();
  });

  it('settles only when nothing runs any more', async () => {
    const work = new BackgroundWork();
    let ended = false;
    await work.begin(async () => {
      await delay(20);
      ended = true;
      throw new Error('too late to matter');
    });
    await work.settle();
    expect(ended).toBe(true);
  });
});
