import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, expect, it } from 'vitest';
import { RafterError } from '../../src/errors.js';
import { LayoutTarget } from '../../src/image/layout/layout-target.js';
import { convertLayout, makeLayout } from './layouts.js';
import { makeTar } from './tar-writer.js';

const dir = mkdtempSync(join(tmpdir(), 'rafter-store-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const layers = ['one', 'two', 'three'].map((name) => makeTar([{ name, data: `content of ${name}` }]));

/** A target whose blobs take `ms` longer to be stored; `after` then has a say. */
function slowTarget(path: string, ms: number, after: (count: number) => void): LayoutTarget {
  const target = new LayoutTarget({ transport: 'oci', path, tag: 'out' });
  const createBlob = target.createBlob.bind(target);
  let count = 0;
  target.createBlob = async (...args) => {
    const writer = await createBlob(...args);
    const commit = writer.commit.bind(writer);
    writer.commit = async (expected) => {
      await delay(ms);
      after(++count);
      return commit(expected);
    };
    return writer;
  };
  return target;
}

it('has every blob at the target before the manifest, however long storing takes', async () => {
  const events: string[] = [];
  const target = slowTarget(join(dir, 'slow'), 40, (count) => events.push(`blob ${count}`));
  const putManifest = target.putManifest.bind(target);
  target.putManifest = (...args) => {
    events.push('manifest');
    return putManifest(...args);
  };
  const { summary } = await convertLayout(makeLayout(layers), {}, { target });
  expect(summary).toBeDefined();
  // Three layers, bootstrap and config; a layout stores its manifest as a blob too.
  expect(events).toEqual(['blob 1', 'blob 2', 'blob 3', 'blob 4', 'blob 5', 'manifest', 'blob 6']);
});

it.for([1, 2, 3])(
  'fails with what stopped blob %i from being stored, and leaves nothing',
  async (failing) => {
    const path = join(dir, `failing-${failing}`);
    const target = slowTarget(path, 20, (count) => {
      if (count === failing) throw new RafterError('NO_SPACE', 'no space for this blob');
    });
    await expect(convertLayout(makeLayout(layers), {}, { target })).rejects.toMatchObject({
      code: 'NO_SPACE',
    });
    expect(existsSync(path)).toBe(false);
    expect(readdirSync(dir).filter((name) => name.startsWith('.rafter-stage'))).toEqual([]);
  },
);
