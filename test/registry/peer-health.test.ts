import { expect, it } from 'vitest';
import { createPeerHealth, FIRST_PAUSE_MS, LONGEST_PAUSE_MS } from '../../src/registry/peer-health.js';

function setUp() {
  const clock = { now: 5_000 };
  return { clock, health: createPeerHealth(() => clock.now) };
}

it('is down after a failure until a probe went well, which one asker makes when it is time', () => {
  const { clock, health } = setUp();
  expect(health.isUp()).toBe(true);
  expect(health.mayProbe()).toBe(false);
  expect(health.failed()).toBe(true);
  expect(health.isUp()).toBe(false);
  clock.now += FIRST_PAUSE_MS - 1;
  expect(health.mayProbe()).toBe(false);
  clock.now += 1;
  expect(health.mayProbe()).toBe(true);
  expect(health.mayProbe()).toBe(false);
  health.probed(true);
  expect(health.isUp()).toBe(true);
});

it('counts what fails together as one failure', () => {
  const { clock, health } = setUp();
  expect(health.failed()).toBe(true);
  expect(health.failed()).toBe(false);
  clock.now += FIRST_PAUSE_MS;
  expect(health.mayProbe()).toBe(true);
});

/** How long it is left alone after failures that came so far. */
function pauseOf({ clock, health }: ReturnType<typeof setUp>): number {
  const start = clock.now;
  while (!health.mayProbe()) clock.now += 250;
  return clock.now - start;
}

it('waits longer after each failure in a row, of probes and of answers, up to a limit, and less after a whole answer', () => {
  const peer = setUp();
  const pauses: number[] = [];
  peer.health.failed();
  for (let i = 0; i < 8; i++) {
    pauses.push(pauseOf(peer));
    peer.health.probed(i % 2 === 0);
    if (i % 2 === 0) peer.health.failed();
  }
  expect(pauses).toEqual([1, 2, 4, 8, 16, 32, 60, 60].map((seconds) => seconds * 1000));
  pauseOf(peer);
  peer.health.probed(true);
  peer.health.served();
  peer.health.failed();
  expect(pauseOf(peer)).toBe(FIRST_PAUSE_MS);
});

it('is left alone for the longest time after a grave failure, whatever a probe said that was under way', () => {
  const peer = setUp();
  peer.health.failed();
  expect(pauseOf(peer)).toBe(FIRST_PAUSE_MS);
  peer.health.failed({ isGrave: true });
  peer.health.probed(true);
  expect(peer.health.isUp()).toBe(false);
  expect(pauseOf(peer)).toBe(LONGEST_PAUSE_MS);
});
