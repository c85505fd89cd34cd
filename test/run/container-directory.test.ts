import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { createContainerDirectory, removeStaleContainers } from '../../src/run/container-directory.js';
import { missingPrograms } from '../support/programs.js';

let dir: string;
let parent: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'rafter-container-'));
  parent = join(dir, 'containers');
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

// No container is ever started here, so nothing has to be ended.
const RUNC = '/no/runc';

it('what was begun and never finished is removed, and what lies where its symlinks lead stays', async () => {
  mkdirSync(join(parent, '.new-rafter-1-0/rootfs'), { recursive: true });
  writeFileSync(join(parent, '.new-rafter-1-0/lock'), '');
  mkdirSync(join(parent, '.new-rafter-2-0'));
  const outside = join(dir, 'outside');
  mkdirSync(outside);
  writeFileSync(join(outside, 'kept'), '');
  symlinkSync(outside, join(parent, '.new-rafter-2-0/rootfs'));
  symlinkSync(outside, join(parent, '.new-rafter-4-0'));
  // A directory whose removal ended between its last file and itself.
  mkdirSync(join(parent, 'rafter-3'));
  await removeStaleContainers(parent, RUNC);
  expect(readdirSync(parent)).toEqual(['.new-rafter-4-0']);
  expect(readdirSync(outside)).toEqual(['kept']);
});

it('what another process is making stays until that one has ended', async (ctx) => {
  const reason = missingPrograms('flock');
  if (reason) ctx.skip(reason);
  const draft = join(parent, '.new-rafter-1-0');
  mkdirSync(draft, { recursive: true });
  const holder = spawn('flock', [draft, 'sh', '-c', 'echo held; exec cat'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const ended = once(holder, 'exit');
  try {
    await once(holder.stdout, 'data');
    await removeStaleContainers(parent, RUNC);
    expect(readdirSync(parent)).toEqual(['.new-rafter-1-0']);
  } finally {
    holder.stdin.end();
    await ended;
  }
  await removeStaleContainers(parent, RUNC);
  expect(readdirSync(parent)).toEqual([]);
});

it('a living container is left alone, and so is a directory with something in it but no lock', async () => {
  const container = createContainerDirectory({ parent, runc: RUNC, runcRoot: join(dir, 'runc') });
  mkdirSync(join(parent, 'somebody'));
  writeFileSync(join(parent, 'somebody/file'), '');
  await removeStaleContainers(parent, RUNC);
  expect(readdirSync(parent).sort()).toEqual([container.id, 'somebody'].sort());
  expect(readdirSync(container.path).sort()).toEqual(['lock', 'rootfs']);
});
