import { execFile } from 'node:child_process';
import { resolve } from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';

const program = resolve(import.meta.dirname, 'kill.mjs');

it.skipIf(process.geteuid?.() !== 0)(
  'readers get every byte although their daemon is killed 30 times, and nothing stays behind',
  async () => {
    const options = ['--kills', '30', '--per-round', '10', '--driver', 'all', '--readers', '2', '--json'];
    const run = await promisify(execFile)(process.execPath, [program, ...options]).catch((error) => error);
    const total = JSON.parse(run.stdout || `{"stderr":${JSON.stringify(run.stderr)}}`);
    expect(total).toMatchObject({ wrong: 0, errors: 0, leaks: 0, messages: [] });
    expect(total.kills).toBeGreaterThanOrEqual(30);
    expect(total.reads).toBeGreaterThan(0);
  },
);
