import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';

/**
 * One start of a container with an empty directory of its own below `dir`: seconds to the first line, and bytes that came over the
 * wire until then.
 * @param {import('./startup.mjs').Way} way
 * @param {unknown} prepared
 * @param {{ link: Awaited<ReturnType<typeof import('./start-wire.mjs').startWire>>, dir: string, peer?: string, onSteps?: (steps: import('./budget.mjs').Step[]) => void }} where
 * @returns {Promise<{ seconds: number, bytes: number }>}
 */
export async function startOnce(way, prepared, { link, dir: parent, peer, onSteps }) {
  const dir = mkdtempSync(join(parent, 'start-'));
  let began;
  let seconds;
  let counted;
  const begin = async () => {
    await link.take();
    began = performance.now();
  };
  const ready = () => {
    seconds ??= (performance.now() - began) / 1000;
    counted ??= link.take();
  };
  try {
    await way.start(prepared, { host: link.host, dir, peer, begin, ready, onSteps });
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
  if (seconds === undefined) throw new Error(`${way.name}: the container printed nothing`);
  return { seconds, bytes: (await counted).down };
}
