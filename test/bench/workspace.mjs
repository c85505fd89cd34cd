import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/**
 * Runs `work` with a temporary directory of its own below `parent`. What `work` begins it gives to `later` as a step that ends it; the
 * steps run at the end in reverse order, and then the directory goes, also after an error, Ctrl-C and SIGTERM.
 * @template T
 * @param {(dir: string, later: (step: () => unknown) => void) => Promise<T>} work
 * @param {string} [parent]
 * @returns {Promise<T>}
 */
export async function withWorkspace(work, parent = tmpdir()) {
  const dir = mkdtempSync(join(parent, 'rafter-bench-'));
  const steps = [() => rmSync(dir, { recursive: true, force: true })];
  let cleaned;
  // The work may fail by what interrupts it: whoever comes second waits for the first.
  const clean = () => {
    cleaned ??= endAll();
    return cleaned;
  };
  const endAll = async () => {
    const failures = [];
    for (const step of steps.splice(0).reverse()) {
      try {
        await step();
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) throw failures[0];
  };
  const interrupted = () => clean().finally(() => process.exit(1));
  process.once('SIGINT', interrupted).once('SIGTERM', interrupted);
  try {
    return await work(dir, (step) => steps.push(step));
  } finally {
    await clean().finally(() => process.off('SIGINT', interrupted).off('SIGTERM', interrupted));
  }
}
