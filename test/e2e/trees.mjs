// Compares all of images with what umoci unpacks, through every driver: types, modes, owners, times, links, attributes, every byte.
//
//     npm run test:trees -- oci:DIR:TAG...
//
// Needs root and umoci. Exit code 1 if anything differs; the first differences are printed.
import { spawnSync } from 'node:child_process';
import { resolve } from 'node:path';

const images = process.argv.slice(2);
if (images.length === 0 || images.some((image) => !/^oci:[^ ]+:[^/: ]+$/.test(image))) {
  process.stderr.write('usage: npm run test:trees -- oci:DIR:TAG...\n');
  process.exit(2);
}
const absolute = images.map((image) => `oci:${resolve(image.slice('oci:'.length))}`);
const { status } = spawnSync(
  'npx',
  ['vitest', 'run', '--project', 'system', '--retry', '0', 'test/e2e/trees.sys'],
  {
    cwd: resolve(import.meta.dirname, '../..'),
    env: { ...process.env, RAFTER_TREES: absolute.join(' ') },
    stdio: 'inherit',
  },
);
process.exitCode = status ?? 1;
