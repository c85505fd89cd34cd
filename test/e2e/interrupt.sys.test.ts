import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { Descriptor } from '../../src/image/descriptor.js';
import { OCI_MANIFEST } from '../../src/image/media-types.js';
import { mount, unmount } from '../../src/os/mount.js';
import { makeTar } from '../convert/tar-writer.js';
import { type CommandLine, createCommandLine } from '../support/command-line.js';
import { writeLayerImage } from '../support/layer-image.js';
import { random } from '../support/mutate.js';
import { missingPrograms } from '../support/programs.js';
import { startRegistry, type TestRegistry } from '../support/registry-server.js';

/** How often a conversion is killed before it may end. */
const KILLS = Number(process.env.RAFTER_KILLS ?? 2);
const SEED = Number(process.env.RAFTER_FUZZ_SEED ?? 4);
const LAYERS = 5;
const LAYER_SIZE = 2_000_000;

const isStage = (name: string) => name.startsWith('.rafter-stage-');

/** What a target is for a test. */
interface Target {
  reference: string;
  /** How far the conversion of process `pid` is, in layers. */
  progress(pid: number): number;
  /** To be called before a conversion. */
  begin?(): void;
  /** Layers that a conversion has finished, going by what it left. */
  finishedLayers(): number;
  /** Digest of the image that the tag names. */
  image(): Promise<string | undefined>;
  /** What should not be there after a conversion. */
  leftovers(): string[];
}

describe.skipIf(missingPrograms('docker-registry'))('a conversion that is ended early', () => {
  let registry: TestRegistry;
  let source: string;
  let undisturbed: { target: { digest: string }; layers: { sourceDigest: string; blobDigest: string }[] };
  let blobs: string[];
  const commandLines: CommandLine[] = [];
  const newCommandLine = () => {
    const rafter = createCommandLine();
    commandLines.push(rafter);
    return rafter;
  };

  beforeAll(async () => {
    registry = await startRegistry();
    const rafter = newCommandLine();
    const files = Array.from({ length: LAYERS }, (_, i) => {
      const path = join(rafter.dir, `layer${i}.tar`);
      const data = createHash('shake256', { outputLength: LAYER_SIZE }).update(`${i}`).digest();
      const small = { name: `small${i}`, data: `${i} `.repeat(1000) };
      writeFileSync(path, makeTar([{ name: `file${i}`, data }, small]));
      return path;
    });
    await writeLayerImage(join(rafter.dir, 'layout'), 'source', files);
    source = `${registry.host}/source:latest`;
    await rafter.ok('copy', `oci:${join(rafter.dir, 'layout')}:source`, source);
    const target = join(rafter.dir, 'undisturbed');
    undisturbed = JSON.parse((await rafter.ok('convert', '--json', source, `oci:${target}:nydus`)).stdout);
    blobs = readdirSync(join(target, 'blobs/sha256')).sort();
  });

  afterAll(async () => {
    await registry?.stop();
    for (const rafter of commandLines) expect(await rafter.remove()).toEqual([]);
  });

  const cacheOf = (rafter: CommandLine) => join(rafter.dir, 'data/convert-cache');
  const namesIn = (path: string) => (existsSync(path) ? readdirSync(path) : []);
  const recordsOf = (rafter: CommandLine) =>
    namesIn(cacheOf(rafter)).filter((name) => /^[0-9a-f]{64}$/.test(name));
  const keptBy = (rafter: CommandLine) =>
    namesIn(join(cacheOf(rafter), 'blobs')).filter((name) => /^[0-9a-f]{64}$/.test(name));

  function layoutTarget(rafter: CommandLine, path: string): Target {
    const stages = () =>
      [path, dirname(path)].flatMap((dir) =>
        namesIn(dir)
          .filter(isStage)
          .map((name) => join(dir, name)),
      );
    const sizeOf = (dir: string): number =>
      namesIn(dir).reduce((sum, name) => {
        const info = statSync(join(dir, name), { throwIfNoEntry: false });
        return sum + (info?.isDirectory() ? sizeOf(join(dir, name)) : (info?.size ?? 0));
      }, 0);
    return {
      reference: `oci:${path}:nydus`,
      // What killed ones have left does not count.
      progress: (pid) =>
        stages()
          .filter((stage) => basename(stage).startsWith(`.rafter-stage-${pid}-`))
          .reduce((sum, stage) => sum + sizeOf(stage), 0) / LAYER_SIZE,
      finishedLayers: () => Math.min(keptBy(rafter).length, recordsOf(rafter).length),
      image: async () => {
        if (!existsSync(join(path, 'index.json'))) return undefined;
        const { manifests } = JSON.parse(readFileSync(join(path, 'index.json'), 'utf8'));
        const tag = 'org.opencontainers.image.ref.name';
        return manifests.find((entry: Descriptor) => entry.annotations?.[tag] === 'nydus')?.digest;
      },
      leftovers: () => [
        ...stages(),
        ...namesIn(path).filter((name) => !['blobs', 'index.json', 'oci-layout'].includes(name)),
        ...keptBy(rafter).map((name) => `kept ${name}`),
      ],
    };
  }

  function registryTarget(rafter: CommandLine, repository: string): Target {
    const url = `http://${registry.host}/v2/${repository}`;
    const requestsTo = () => registry.requests.filter(({ path }) => path.includes(`/${repository}/`));
    const sent = () => requestsTo().filter(({ method, status }) => method === 'PUT' && status === 201);
    let before = 0;
    return {
      reference: `${registry.host}/${repository}:nydus`,
      // A layer that is there is asked for; another one is begun and ended.
      progress: () => {
        const answered = requestsTo().slice(before);
        const count = (wanted: string, code: number) =>
          answered.filter(({ method, status }) => method === wanted && status === code).length;
        return count('HEAD', 200) + (count('POST', 202) + count('PUT', 201)) / 2;
      },
      finishedLayers: () => Math.min(sent().length, recordsOf(rafter).length),
      image: async () => {
        const headers = { accept: OCI_MANIFEST };
        const answer = await fetch(`${url}/manifests/nydus`, { method: 'HEAD', headers });
        return answer.headers.get('docker-content-digest') ?? undefined;
      },
      leftovers: () => keptBy(rafter),
      begin: () => {
        before = requestsTo().length;
      },
    };
  }

  /** Layers of the source that were read. */
  const layersRead = () => {
    const digests = new Set(undisturbed.layers.map(({ sourceDigest }) => sourceDigest));
    return registry.requests.filter(
      ({ method, path }) => method === 'GET' && path.startsWith('/v2/source/') && digests.has(basename(path)),
    ).length;
  };

  /** Starts a conversion and kills it when it has come to `moment`, in layers; false if it ended before. */
  async function killAt(rafter: CommandLine, target: Target, moment: number): Promise<boolean> {
    target.begin?.();
    const child = rafter.start('convert', source, target.reference);
    const ended = once(child, 'exit');
    while (child.exitCode === null && target.progress(child.pid!) < moment) await sleep(1);
    child.kill('SIGKILL');
    await ended;
    return child.signalCode === 'SIGKILL';
  }

  const timeout = 60_000 * (2 + KILLS);
  it.for(['a layout', 'a registry'])(
    'goes on to %s after it was killed at any moment',
    { timeout },
    async (kind) => {
      const next = random(SEED + kind.length);
      const rafter = newCommandLine();
      const path = join(rafter.dir, 'target/layout');
      mkdirSync(dirname(path));
      const other = join(rafter.dir, 'other.tar');
      writeFileSync(other, makeTar([{ name: 'other', data: 'x' }]));
      await writeLayerImage(path, 'other', [other]);
      const others = readdirSync(join(path, 'blobs/sha256'));
      const target =
        kind === 'a registry' ? registryTarget(rafter, `killed-${SEED}`) : layoutTarget(rafter, path);
      const moments = Array.from({ length: KILLS }, () => (next(1000) / 1000) * LAYERS);
      let finished = 0;
      for (const moment of moments.sort((a, b) => a - b)) {
        if (!(await killAt(rafter, target, moment))) break;
        const image = await target.image();
        // If it was killed when it had just ended it is the whole image.
        expect([undefined, undisturbed.target.digest]).toContain(image);
        if (image !== undefined) break;
        // Finished work stays.
        expect(target.finishedLayers()).toBeGreaterThanOrEqual(finished);
        finished = target.finishedLayers();
      }
      if ((await target.image()) !== undefined) await rafter.ok('check', target.reference);
      registry.requests.length = 0;
      const { stdout } = await rafter.ok('convert', '--json', source, target.reference);
      const summary = JSON.parse(stdout);
      expect(summary.target).toEqual(undisturbed.target);
      expect(summary.reusedLayers).toBeGreaterThanOrEqual(finished);
      expect(layersRead()).toBe(LAYERS - summary.reusedLayers);
      await rafter.ok('check', '--source', source, target.reference);
      expect(target.leftovers()).toEqual([]);
      if (kind !== 'a registry')
        expect(readdirSync(join(path, 'blobs/sha256')).sort()).toEqual([...blobs, ...others].sort());
    },
  );

  it('leaves nothing after Ctrl-C, and goes on from there', async () => {
    const rafter = newCommandLine();
    const path = join(rafter.dir, 'target');
    const target = layoutTarget(rafter, path);
    const child = rafter.start('convert', source, target.reference);
    let stderr = '';
    child.stderr?.on('data', (piece: Buffer) => (stderr += piece.toString()));
    const closed = once(child, 'close');
    await vi.waitFor(() => expect(target.finishedLayers()).toBeGreaterThan(0), {
      timeout: 60_000,
      interval: 2,
    });
    child.kill('SIGINT');
    const [code, signal] = await closed;
    // It may have been done already.
    if (code !== 0) {
      // By the signal if threads take long to end; shells show both as 130.
      expect(code ?? signal).toBeOneOf([130, 'SIGINT']);
      expect(stderr).toMatch(/interrupted[\s\S]*the same command goes on from there/);
      expect(existsSync(path)).toBe(false);
      expect(namesIn(rafter.dir).filter(isStage)).toEqual([]);
    }
    const { stdout } = await rafter.ok('convert', '--json', source, target.reference);
    expect(JSON.parse(stdout)).toMatchObject({ target: undisturbed.target });
    expect(JSON.parse(stdout).reusedLayers).toBeGreaterThan(0);
    expect(target.leftovers()).toEqual([]);
  });

  it('leaves nothing on a disk that gets full, and goes on when there is space', async (ctx) => {
    if (process.getuid?.() !== 0) return ctx.skip('mounting a tmpfs needs root');
    const rafter = newCommandLine();
    const disk = join(rafter.dir, 'disk');
    mkdirSync(disk);
    mount({ source: 'rafter-test', target: disk, type: 'tmpfs', data: `size=${3 * LAYER_SIZE}` });
    try {
      const failed = await rafter.run('convert', source, `oci:${disk}/layout:nydus`);
      expect(failed.code).toBe(1);
      expect(failed.stderr).toMatch(/disk.*ENOSPC/);
      expect(readdirSync(disk)).toEqual([]);
      expect(keptBy(rafter).length).toBeGreaterThan(0);

      // With its cache on the same disk: what is kept there would keep it full.
      const both = ['--data-root', join(disk, 'data')];
      const again = await rafter.run('convert', ...both, source, `oci:${disk}/layout:nydus`);
      expect(again.code).toBe(1);
      expect(readdirSync(disk)).toEqual(['data']);
      expect(namesIn(join(disk, 'data/convert-cache/blobs'))).toEqual([]);
    } finally {
      unmount(disk, { detach: true });
    }
    const roomy = await rafter.ok('convert', '--json', source, `oci:${disk}/layout:nydus`);
    expect(JSON.parse(roomy.stdout)).toMatchObject({ target: undisturbed.target });
    expect(JSON.parse(roomy.stdout).reusedLayers).toBeGreaterThan(0);
    expect(keptBy(rafter)).toEqual([]);
  });
});
