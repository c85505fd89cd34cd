import { expect, it, vi } from 'vitest';
import type { LayerTar } from '../../src/convert/layer-tar.js';
import { LayersAhead } from '../../src/convert/layers-ahead.js';

/** Layers whose sources end when `finish` is called. */
function fakeLayers(count: number, jobs: number) {
  const log: string[] = [];
  const finish: (() => void)[] = [];
  const begin = async (layer: number): Promise<LayerTar> => {
    log.push(`begin ${layer}`);
    if (layer === 13) throw new Error('no such layer');
    const received = new Promise<void>((resolve) => {
      finish[layer] = resolve;
    });
    const close = () => void log.push(`close ${layer}`);
    async function* pieces(): AsyncGenerator<Buffer> {}
    const verdict = async () => undefined;
    return {
      pieces: pieces(),
      size: () => layer,
      taken: () => 0,
      verify: () => {},
      received,
      verdict,
      close,
    };
  };
  return { log, finish, ahead: new LayersAhead(begin, { count, jobs }) };
}

const settled = () => new Promise((resolve) => setImmediate(resolve));

it('begins a layer when the one in front of it has come in, up to the number of jobs', async () => {
  const { log, finish, ahead } = fakeLayers(5, 3);
  await ahead.open(0);
  await settled();
  expect(log).toEqual(['begin 0']);
  finish[0]!();
  await vi.waitFor(() => expect(log).toEqual(['begin 0', 'begin 1']));
  finish[1]!();
  await vi.waitFor(() => expect(log).toEqual(['begin 0', 'begin 1', 'begin 2']));
  finish[2]!();
  await settled();
  expect(log).toHaveLength(3);
  await ahead.open(1);
  await ahead.open(2);
  await vi.waitFor(() => expect(log.slice(3)).toEqual(['begin 3']));
  finish[3]!();
  await vi.waitFor(() => expect(log.slice(4)).toEqual(['begin 4']));
  finish[4]!();
  await settled();
  expect(log).toHaveLength(5);
});

it('begins none but the one that is asked for with a single job', async () => {
  const { log, finish, ahead } = fakeLayers(3, 1);
  await ahead.open(0);
  finish[0]!();
  await settled();
  await ahead.open(1);
  expect(log).toEqual(['begin 0', 'begin 1']);
});

it('drops layers that were passed over, and all that is left at the end', async () => {
  const { log, finish, ahead } = fakeLayers(5, 3);
  await ahead.open(0);
  finish[0]!();
  await vi.waitFor(() => expect(log).toContain('begin 1'));
  await ahead.open(2);
  await vi.waitFor(() => expect(log).toEqual(['begin 0', 'begin 1', 'begin 2', 'close 1']));
  finish[2]!();
  await vi.waitFor(() => expect(log).toContain('begin 3'));
  ahead.close();
  await vi.waitFor(() => expect(log.at(-1)).toBe('close 3'));
  finish[3]!();
  await settled();
  expect(log.filter((line) => line.startsWith('begin'))).toEqual([
    'begin 0',
    'begin 1',
    'begin 2',
    'begin 3',
  ]);
});

it('keeps an error for whoever asks for the layer', async () => {
  const { finish, ahead } = fakeLayers(20, 2);
  await ahead.open(12);
  finish[12]!();
  await settled();
  await expect(ahead.open(13)).rejects.toThrow('no such layer');
});
