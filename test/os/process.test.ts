import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { expect, it, vi } from 'vitest';
import { isAlive } from '../../src/os/process.js';

it('a process runs until it has ended, also if nobody asks for its exit code', async () => {
  // `sleep` takes the place of the shell, and waits for no child.
  const script = 'sleep 0.2 & echo $!; exec sleep 1000';
  const parent = spawn('sh', ['-c', script], { stdio: ['ignore', 'pipe', 'ignore'] });
  try {
    const [line] = (await once(parent.stdout, 'data')) as [Buffer];
    const child = Number(line.toString());
    await vi.waitFor(() => expect(readFileSync(`/proc/${child}/status`, 'utf8')).toMatch(/^State:\s+Z/m), {
      timeout: 20_000,
    });
    expect(isAlive(child)).toBe(false);
    expect(isAlive(parent.pid!)).toBe(true);
  } finally {
    parent.kill();
    await once(parent, 'exit');
  }
  expect(isAlive(parent.pid!)).toBe(false);
  expect(isAlive(process.pid)).toBe(true);
  expect(isAlive(1)).toBe(true);
});
