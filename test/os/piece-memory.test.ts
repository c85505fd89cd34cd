import { expect, it, vi } from 'vitest';
import { giveBack, giveRoomBack, pieceOf, ROOM_SIZE, takeRoom } from '../../src/os/piece-memory.js';

/** Rooms until one is new: those that were given back. */
function drain(): Set<ArrayBufferLike> {
  const seen = new Set<ArrayBufferLike>();
  for (let i = 0; i < 40; i++) seen.add(takeRoom().buffer);
  return seen;
}

it('gives a room again when its piece was given back', () => {
  const room = takeRoom();
  expect(room.length).toBe(ROOM_SIZE);
  giveBack(pieceOf(room, 1000));
  expect(drain()).toContain(room.buffer);
});

it('gives a room again that no piece was made of', () => {
  const room = takeRoom();
  giveRoomBack(room);
  expect(drain()).toContain(room.buffer);
});

it('leaves alone what is only a part of a piece, as others may have the rest', () => {
  const room = takeRoom();
  const piece = pieceOf(room, 1000);
  giveBack(piece.subarray(0, 999));
  giveBack(piece.subarray(1));
  giveBack(room);
  expect(drain()).not.toContain(room.buffer);
});

it('takes a piece back once', () => {
  const room = takeRoom();
  const piece = pieceOf(room, 1000);
  giveBack(piece);
  giveBack(piece);
  const rooms = Array.from({ length: 40 }, () => takeRoom().buffer);
  expect(rooms.filter((one) => one === room.buffer)).toHaveLength(1);
});

it('leaves bytes alone that are no piece', () => {
  const bytes = Buffer.alloc(ROOM_SIZE);
  giveBack(bytes);
  giveBack(Buffer.from('some'));
  expect(drain()).not.toContain(bytes.buffer);
});

it('keeps no more rooms than a few', () => {
  drain();
  const rooms = Array.from({ length: 40 }, () => Buffer.alloc(ROOM_SIZE));
  for (const room of rooms) giveRoomBack(room);
  const kept = drain();
  expect(rooms.filter(({ buffer }) => kept.has(buffer)).length).toBeLessThan(20);
});

it('keeps none for longer than a moment', async () => {
  vi.useFakeTimers();
  vi.resetModules();
  try {
    const fresh = await import('../../src/os/piece-memory.js');
    const room = fresh.takeRoom();
    fresh.giveRoomBack(room);
    expect(fresh.takeRoom()).toBe(room);
    fresh.giveRoomBack(room);
    vi.advanceTimersByTime(5000);
    expect(fresh.takeRoom()).not.toBe(room);
  } finally {
    vi.useRealTimers();
  }
});
