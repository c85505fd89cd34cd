import { spawnSync } from 'node:child_process';
import { createReadStream, existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { decompressLayer } from '../../dist/codec/decompress-stream.js';
import { readCommandLine } from './command-line.mjs';
import { compare, printComparison } from './comparison.mjs';
import { builtImage, rafter, splitImage } from './images.mjs';
import { measure } from './measure.mjs';
import { peer, peerEnvironment } from './nydusd.mjs';
import { imageSize, startRegistry } from './registry.mjs';
import { writeLargeLayer, writeManyFiles } from './synthetic.mjs';
import { withWorkspace } from './workspace.mjs';

const USAGE = `usage: npm run bench:convert -- [OPTIONS] [LAYOUT:TAG...]

Converts images from a registry to the same registry, on this machine, and prints what it took: with rafter, and beside it
with nydusify and mkfs.erofs where they are. On a machine that does other things too, compare CPU seconds, and see from the cores
what time they would take without. Without LAYOUT:TAG, the image that quickstart builds.

  --synthetic         a layer of 4 GiB and one of 200,000 small files, which rafter alone converts
  --layer-size <MiB>  size of the large synthetic layer (default 4096)
  --files <n>         number of small files (default 200000)
  --runs <n>          how often each is converted (default 1); the run with the least CPU seconds is shown
  --json              a line of JSON for each image

nydusify and nydus-image are taken from the folder that RAFTER_PEERS names. Needs docker-registry; for mkfs.erofs, root.`;

/** What is measured. The others are compared to nydusify, or without it to rafter. */
const CONVERTERS = [
  { name: 'rafter', ours: true, command: convertWithRafter },
  { name: 'nydusify', command: (job) => convertWithNydusify(job, []) },
  {
    name: 'nydusify, 1 MiB batches',
    command: (job) => convertWithNydusify(job, ['--batch-size', '0x100000']),
  },
];

const { options, named } = readCommandLine(USAGE, {
  synthetic: false,
  'layer-size': '4096',
  files: '200000',
  runs: '1',
  json: false,
});
await bench();

function bench() {
  return withWorkspace(async (dir, later) => {
    const registry = await startRegistry(dir);
    later(() => registry.stop());
    for (const image of await images(dir)) await benchImage(image, registry.host, dir);
  });
}

/** The images to convert, as LAYOUT:TAG; `alone`: rafter only. */
async function images(dir) {
  const jobs = named.map((image) => ({ image, alone: false }));
  if (options.synthetic) {
    const layout = join(dir, 'layout');
    await writeLargeLayer(join(layout, 'large'), Number(options['layer-size']));
    await writeManyFiles(join(layout, 'files'), Number(options.files));
    for (const tag of ['large', 'files']) jobs.push({ image: `${join(layout, tag)}:${tag}`, alone: true });
  }
  return jobs.length > 0 ? jobs : [{ image: builtImage(), alone: false }];
}

async function benchImage({ image, alone }, host, dir) {
  const { layout, tag } = splitImage(image);
  const source = `${host}/bench/source:${tag}`;
  await measure([rafter, 'copy', '--quiet', `oci:${layout}:${tag}`, source]);
  const { layers, bytes } = await readLayers(layout, tag);
  const sourceBytes = await imageSize(source);
  const rows = [];
  for (const { name, ours = false, command } of alone ? CONVERTERS.slice(0, 1) : CONVERTERS) {
    let best;
    for (let run = 0; run < Number(options.runs); run++) {
      // Names of its own: what the registry has already would not be sent again.
      const target = `${host}/bench/${name.replace(/\W+/g, '-').toLowerCase()}-${run}:${tag}`;
      const job = command({ source, target, dir });
      if (job === undefined) break;
      const measured = await measure(job.command, job.env);
      if (!best || measured.cpu < best.cpu)
        best = { ...figuresOf(measured, bytes), size: (await imageSize(target)) / sourceBytes };
    }
    if (best) rows.push({ name, ours, figures: best });
  }
  if (!alone) rows.push(...(await buildErofs(layers, { dir, bytes })));
  const title = `${tag}: ${layers.length} layers, ${mb(bytes)} MB in ${mb(sourceBytes)} MB`;
  printComparison(compare({ title, reference: 'nydusify', rows }), options);
}

/** The figures of a conversion of `bytes` of tar. */
function figuresOf({ seconds, cpu, peakRss }, bytes) {
  return { seconds, rate: bytes / seconds, cpu, peakRss };
}

function convertWithRafter({ source, target }) {
  return { command: [rafter, 'convert', '--quiet', '--no-cache', source, target], env: process.env };
}

function convertWithNydusify({ source, target, dir }, more) {
  const program = peer('nydusify');
  if (program === undefined) return undefined;
  const flags = ['--source-insecure', '--target-insecure', '--work-dir', join(dir, 'nydusify'), ...more];
  return {
    command: [program, 'convert', '--source', source, '--target', target, ...flags],
    env: peerEnvironment(),
  };
}

/** mkfs.erofs, plain and with LZ4, of the layers unpacked over each other. Unpacking does not count. */
async function buildErofs(layers, { dir, bytes }) {
  const program = (process.env.PATH ?? '').split(':').some((path) => existsSync(join(path, 'mkfs.erofs')));
  if (!program || process.getuid?.() !== 0) return [];
  const tree = join(dir, 'tree');
  const file = join(dir, 'image.erofs');
  mkdirSync(tree);
  try {
    for (const path of layers) {
      const { status, stderr } = spawnSync('tar', ['-xf', path, '-C', tree, '--exclude', '.wh.*']);
      if (status !== 0) throw new Error(`tar: ${stderr}`);
    }
    const rows = [];
    for (const [name, flags] of [
      ['mkfs.erofs', []],
      ['mkfs.erofs, LZ4', ['-zlz4', '-C65536']],
    ]) {
      const measured = await measure(['mkfs.erofs', ...flags, file, tree]);
      rows.push({ name, ours: false, figures: figuresOf(measured, bytes) });
      rmSync(file);
    }
    return rows;
  } finally {
    rmSync(tree, { recursive: true, force: true });
  }
}

/** The files of the image's layers and the bytes of the tars in them. */
async function readLayers(layout, tag) {
  const blob = (digest) => join(layout, 'blobs', digest.replace(':', '/'));
  const json = (path) => JSON.parse(readFileSync(path, 'utf8'));
  const { manifests } = json(join(layout, 'index.json'));
  const named = manifests.find(
    ({ annotations }) => annotations?.['org.opencontainers.image.ref.name'] === tag,
  );
  if (!named) throw new Error(`${layout}: no image ${tag}`);
  const layers = json(blob(named.digest)).layers.map(({ digest }) => blob(digest));
  let bytes = 0;
  for (const path of layers) {
    const { tar } = await decompressLayer(createReadStream(path, { highWaterMark: 1 << 20 }), path);
    for await (const piece of tar) bytes += piece.length;
  }
  return { layers, bytes };
}

/** Bytes as MB (10^6). */
function mb(bytes) {
  return (bytes / 1e6).toFixed(1);
}
