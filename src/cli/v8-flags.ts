import { getHeapStatistics, setFlagsFromString } from 'node:v8';

/** Bytes of the heap below which memory is left to V8: collecting garbage more often costs more than what it would give back. */
const FREE_HEAP = 28 << 20;
const LOOK_MS = 100;

/**
 * For commands that keep a whole image's tree in memory: once the heap is above FREE_HEAP, V8 collects garbage when it has grown by
 * about a third instead of to the double or more. The flag is one of those that V8 asks for again each time. Measured with an image
 * of 200,000 files: conversion peaks at 327 instead of 429 MB. From the beginning it would take a tenth of the CPU time of
 * converting an image of some 10,000 files.
 */
export function keepHeapSmall(): void {
  const timer = setInterval(() => {
    if (getHeapStatistics().used_heap_size < FREE_HEAP) return;
    setFlagsFromString('--optimize-for-size');
    clearInterval(timer);
  }, LOOK_MS);
  timer.unref();
}

/**
 * For commands whose work is done by libraries: V8 compiles functions with optimization only after eight times as many calls as by
 * default. In the seconds that an image takes, hundreds of functions are called just often enough to be compiled, which costs
 * more than their optimized code saves: 2 to 5 % of the CPU time. Holds for threads, too. Only the V8 of Node.js 20 has the flag,
 * and another one would complain on standard error.
 */
export function compileRarely(): void {
  if (process.versions.node.startsWith('20.')) setFlagsFromString('--interrupt-budget=1081344');
}

/**
 * For commands that keep little but move much: V8 collects garbage at once when the heap has reached its limit. By default it begins to
 * look for garbage long before that, in several threads beside the work, which takes a pull of 100 MB a tenth of its CPU time and
 * frees what one collection at the end would.
 */
export function collectAtOnce(): void {
  setFlagsFromString('--no-incremental-marking');
}
