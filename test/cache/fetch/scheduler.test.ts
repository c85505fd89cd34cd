import { setMaxListeners } from 'node:events';
import { expect, it } from 'vitest';
import { CLASS_LIMITS, type FetchClass } from '../../../src/cache/fetch/fetch-class.js';
import type { Flight } from '../../../src/cache/fetch/flight.js';
import { PendingUnit } from '../../../src/cache/fetch/pending-unit.js';
import { FetchScheduler } from '../../../src/cache/fetch/scheduler.js';
import type { ChunkInfo } from '../../../src/cache/layout.js';
import { sampleBlob } from '../sample-blob.js';

const { layout, chunks } = sampleBlob([1]);
const [chunk] = chunks as [ChunkInfo];
const forever = new AbortController().signal;
setMaxListeners(0, forever);
const MIB = 1 << 20;

/** A scheduler whose requests end when the test says so. */
function setUp(host?: string) {
  const scheduler = new FetchScheduler();
  const bytes = { name: 'test', host, read: () => Promise.reject(new Error('not asked')) };
  const flying: { flight: Flight; land: () => void }[] = [];
  const runner = {
    async run(flight: Flight, landed: () => void) {
      const entry = {
        flight,
        land: () => {
          flying.splice(flying.indexOf(entry), 1);
          landed();
        },
      };
      flying.push(entry);
    },
  };
  const unit = (name: FetchClass, at: number, size = 1) => {
    const common = { decodedSize: 1, compressed: false, encrypted: false, inflate: undefined, members: [] };
    const where = { storedOffset: at * MIB, storedSize: size * MIB };
    const pending = new PendingUnit(
      { layout, bytes },
      { ...common, ...where },
      {
        class: name,
        onRaised: (raised, before) => scheduler.raise(raised, before),
        onLeft: () => {},
      },
    );
    pending.take(chunk, { class: name, signal: forever }).catch(() => {});
    return pending;
  };
  const add = (...pendings: PendingUnit[]) => scheduler.add(pendings, runner);
  /** What is on its way: class and MiB from where to where of each request. */
  const requests = () =>
    flying.map(({ flight }) => `${flight.class} ${flight.range.start / MIB}-${flight.range.end / MIB}`);
  return { scheduler, flying, unit, add, requests, bytes, runner };
}

it('begins units side by side as one request, up to what a request of the class may have', () => {
  const { add, unit, requests } = setUp();
  add(...[0, 1, 2, 3, 4, 6].map((at) => unit('demand', at)));
  expect(requests()).toEqual(['demand 0-4', 'demand 4-5', 'demand 6-7']);
});

it('lets demand begin whatever else is on its way', () => {
  const { add, unit, requests } = setUp();
  for (const name of ['completion', 'readahead', 'startup', 'demand'] as const)
    add(...Array.from({ length: 100 }, (_, i) => unit(name, i * 10)));
  const begun = requests().filter((text) => text.startsWith('demand'));
  expect(begun).toHaveLength(CLASS_LIMITS.demand.requests);
});

it('begins nothing else while demand is on its way, and goes on in the order of the classes', () => {
  const { add, unit, requests, flying } = setUp();
  add(unit('demand', 0));
  add(unit('completion', 10));
  add(unit('readahead', 20));
  add(unit('startup', 30));
  expect(requests()).toEqual(['demand 0-1']);
  flying[0]!.land();
  expect(requests()).toEqual(['startup 30-31']);
  flying[0]!.land();
  expect(requests()).toEqual(['readahead 20-21']);
  flying[0]!.land();
  expect(requests()).toEqual(['completion 10-11']);
});

it('keeps each class at its number of requests', () => {
  for (const name of ['startup', 'readahead', 'completion'] as const) {
    const { add, unit, requests, flying } = setUp();
    add(...Array.from({ length: 20 }, (_, i) => unit(name, i * 10)));
    expect(requests()).toHaveLength(CLASS_LIMITS[name].requests);
    flying[0]!.land();
    expect(requests()).toHaveLength(CLASS_LIMITS[name].requests);
  }
});

it('merges what different reads wait for when it may begin', () => {
  const { add, unit, requests, flying } = setUp();
  const { requests: limit } = CLASS_LIMITS.demand;
  for (let i = 0; i < limit; i++) add(unit('demand', 1000 + 10 * i));
  for (const at of [7, 5, 6, 9]) add(unit('demand', at));
  expect(requests()).toHaveLength(limit);
  flying[0]!.land();
  expect(requests().at(-1)).toBe('demand 5-8');
  flying[0]!.land();
  expect(requests().at(-1)).toBe('demand 9-10');
});

it('does not merge what comes from different sources', () => {
  const one = setUp();
  const two = setUp();
  for (let i = 0; i < CLASS_LIMITS.demand.requests; i++) one.add(one.unit('demand', 1000 + 10 * i));
  one.scheduler.add([one.unit('demand', 0)], one.runner);
  one.scheduler.add([two.unit('demand', 1)], one.runner);
  one.flying[0]!.land();
  expect(one.requests().at(-1)).toBe('demand 0-1');
});

it('starts at once what a reader wants that was queued for a lesser reason, alone', () => {
  const { add, unit, requests } = setUp();
  const queued = [11, 12, 13].map((at) => unit('completion', at));
  add(unit('completion', 0));
  add(...queued);
  expect(requests()).toEqual(['completion 0-1']);
  queued[1]!.take(chunk, { class: 'demand', signal: forever }).catch(() => {});
  expect(requests()).toEqual(['completion 0-1', 'demand 12-13']);
});

it('lets a request that a reader joined hold up completion, but not the read-ahead of the same reader', () => {
  for (const [name, also] of [
    ['readahead', 1],
    ['completion', 0],
  ] as const) {
    const { add, unit, requests } = setUp();
    const joined = unit(name, 0);
    add(joined);
    joined.take(chunk, { class: 'demand', signal: forever }).catch(() => {});
    add(unit(name, 10));
    add(unit('completion', 20));
    expect(requests()).toHaveLength(1 + also);
  }
});

it('keeps the hosts apart', () => {
  const here = setUp('here');
  const there = setUp('there');
  here.add(here.unit('demand', 0));
  here.scheduler.add([there.unit('completion', 5)], here.runner);
  expect(here.requests()).toEqual(['demand 0-1', 'completion 5-6']);
});

it('forgets what is taken out of the queue', () => {
  const { add, unit, requests, flying, scheduler } = setUp();
  const second = unit('completion', 10);
  add(unit('completion', 0));
  add(second);
  expect(scheduler.remove(second)).toBe(true);
  expect(scheduler.remove(second)).toBe(false);
  flying[0]!.land();
  expect(requests()).toEqual([]);
});

it('holds back what is less urgent than something else that comes from the same host', () => {
  const { add, unit, requests, flying, scheduler, runner } = setUp('here');
  const there = setUp('there');
  const release = scheduler.occupy('here', 'startup');
  for (const name of ['completion', 'readahead', 'startup'] as const) add(unit(name, 10));
  scheduler.add([there.unit('completion', 5)], runner);
  expect(requests()).toEqual(['startup 10-11', 'completion 5-6']);
  flying[0]!.land();
  add(unit('demand', 0));
  expect(requests()).toEqual(['completion 5-6', 'demand 0-1']);
  flying[1]!.land();
  expect(requests()).toEqual(['completion 5-6']);
  release();
  expect(requests()).toEqual(['completion 5-6', 'readahead 10-11']);
});

it('holds back until the last of several has ended, each of which ends once', () => {
  const { add, unit, requests, scheduler } = setUp();
  const [first, second] = [1, 2].map(() => scheduler.occupy(undefined, 'startup'));
  add(unit('completion', 0));
  first!();
  first!();
  expect(requests()).toEqual([]);
  second!();
  expect(requests()).toEqual(['completion 0-1']);
});
