import { expect, it } from 'vitest';
import {
  MAX_STARTUP_BYTES,
  MAX_STARTUP_FILES,
  StartupSet,
} from '../../../src/convert/startup/startup-set.js';

const common = { mode: 0, uid: 0, gid: 0, mtimeSec: 0, mtimeNsec: 0, xattrs: [] };
const file = (path: string, size: number) => ({
  path,
  node: { inode: { ...common, type: 'file' as const, size, chunks: [] } },
  facts: {},
});

it('takes each file once, up to its limits', () => {
  const set = new StartupSet();
  expect(set.add(file('/too large', MAX_STARTUP_BYTES + 1))).toBe(false);
  expect(set.add(file('/large', MAX_STARTUP_BYTES))).toBe(true);
  expect(set.add(file('/large', 0))).toBe(false);
  expect(set.add(file('/one byte more', 1))).toBe(false);
  for (let i = 1; i < MAX_STARTUP_FILES; i++) expect(set.add(file(`/${i}`, 0))).toBe(true);
  expect(set.add(file('/one more', 0))).toBe(false);
  expect(set.paths).toHaveLength(MAX_STARTUP_FILES);
  expect(set.bytes).toBe(MAX_STARTUP_BYTES);
});
