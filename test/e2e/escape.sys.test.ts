import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { ociDigest } from '../../src/codec/digest.js';
import { OCI_INDEX, OCI_MANIFEST } from '../../src/image/media-types.js';
import { readCertsDirs } from '../../src/registry/hosts/certs-dir.js';
import { formatTrace } from '../../src/trace/trace.js';
import { makeTar } from '../convert/tar-writer.js';
import { type FakeRegistry, startFakeRegistry } from '../support/fake-registry.js';
import { runInProcess } from '../support/in-process.js';
import { touchOf, traceOf } from '../trace/traces.js';

// A registry, an image, a layout or a trace of somebody else names files. Nothing is ever written where such a name leads.
const golden = resolve(import.meta.dirname, '../../fixtures/golden/oci');

let dir: string;
let registry: FakeRegistry;
/** What a name leads to that goes up from wherever it is taken to be. */
let away: string;

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'rafter-escape-'));
  away = `${'../'.repeat(24)}${dir.slice(1)}/escaped`;
  for (const name of ['RAFTER_DATA_ROOT', 'RAFTER_RUN_DIR']) vi.stubEnv(name, join(dir, 'own', name));
  vi.stubEnv('RAFTER_CONFIG', '/dev/null');
  vi.stubEnv('DOCKER_CONFIG', join(dir, 'own/docker'));
  registry = await startFakeRegistry();
});
afterEach(async () => {
  await registry.stop();
  vi.unstubAllEnvs();
  rmSync(dir, { recursive: true, force: true });
});

/** Everything that is there now, what is meant for rafter's own use aside. */
const there = () =>
  (readdirSync(dir, { recursive: true }) as string[]).filter((name) => !/^own\b/.test(name)).sort();

/** Runs a command that has to fail with one of `codes`, and to leave nothing. */
async function refused(args: string[], codes: number[]): Promise<string> {
  const before = there();
  const { code, stderr } = await runInProcess(args);
  expect(codes, `${args.join(' ')}: exit code ${code}: ${stderr}`).toContain(code);
  expect(there(), args.join(' ')).toEqual(before);
  return stderr;
}

const json = (value: unknown) => Buffer.from(JSON.stringify(value));
const layerOf = (digest: string) => ({
  mediaType: 'application/vnd.oci.image.layer.v1.tar',
  digest,
  size: 4,
});

function put(tag: string, mediaType: string, document: Record<string, unknown>): string {
  const bytes = json({ schemaVersion: 2, mediaType, ...document });
  for (const name of [tag, ociDigest(bytes)]) registry.manifests.set(name, { mediaType, bytes });
  return `${registry.host}/team/app:${tag}`;
}

it('digests of a registry that are paths are no digests', async () => {
  const config = registry.addBlob(json({ os: 'linux', architecture: 'amd64', rootfs: { diff_ids: [] } }));
  const paths = [`sha256:${away}`, `${away}:${'a'.repeat(64)}`, `sha256:${'a'.repeat(64)}/${away}`];
  const images = paths.flatMap((digest, i) => [
    put(`layer${i}`, OCI_MANIFEST, { config, layers: [layerOf(digest)] }),
    put(`config${i}`, OCI_MANIFEST, { config: { ...config, digest }, layers: [] }),
    put(`member${i}`, OCI_INDEX, { manifests: [{ mediaType: OCI_MANIFEST, digest, size: 4 }] }),
  ]);
  for (const image of images) {
    const said = await refused(['copy', image, `oci:${dir}/target:x`], [5]);
    expect(said).toMatch(/not a sha256 or sha512 digest/);
    await refused(['copy', image, `oci-archive:${dir}/target.tar`], [5]);
    await refused(['inspect', image], [5]);
  }
  await refused(['convert', images[0]!, `oci:${dir}/target:x`], [5]);
});

it('a digest that a registry answers with is not believed', async () => {
  const config = registry.addBlob(json({ os: 'linux', architecture: 'amd64', rootfs: { diff_ids: [] } }));
  const image = put('x', OCI_MANIFEST, { config, layers: [] });
  registry.intercept(/manifests/, (_, response, next) => {
    const plain = response.setHeader.bind(response);
    response.setHeader = (name, value) =>
      plain(name, /^docker-content-digest$/i.test(name) ? `sha256:${away}` : value);
    plain('docker-content-digest', `sha256:${away}`);
    next();
  });
  const { code } = await runInProcess(['copy', image, `oci:${dir}/target:x`]);
  expect([0, 5]).toContain(code);
  expect(there().filter((name) => !name.startsWith('target'))).toEqual([]);
});

it('titles and names of images are no names of files', async () => {
  const annotations = {
    'org.opencontainers.image.title': away,
    'org.opencontainers.image.ref.name': away,
    'io.containerd.image.name': away,
  };
  const config = registry.addBlob(
    json({ os: 'linux', architecture: 'amd64', rootfs: { type: 'layers', diff_ids: [] } }),
  );
  const layer = { ...registry.addBlob(Buffer.alloc(1024)), annotations };
  const image = put('x', OCI_MANIFEST, {
    config: { ...config, annotations },
    layers: [{ ...layer, mediaType: 'application/vnd.oci.image.layer.v1.tar' }],
    annotations,
  });
  for (const target of ['oci:layout:y', 'oci-archive:a.tar:y', 'docker-archive:d.tar:y:1'])
    await runInProcess(['copy', image, target.replace(':', `:${dir}/`)]);
  const tops = new Set(there().map((name) => name.split('/')[0]));
  expect([...tops].filter((name) => !['layout', 'a.tar', 'd.tar'].includes(name!))).toEqual([]);
  expect(existsSync(join(dir, 'layout/index.json'))).toBe(true);
  for (const archive of ['a.tar', 'd.tar'])
    if (existsSync(join(dir, archive)))
      expect(readFileSync(join(dir, archive)).toString('latin1')).not.toMatch(/^(\.\.\/)+/m);
});

it('paths in the manifest of a docker-archive are looked for in the archive', async () => {
  writeFileSync(join(dir, 'secret'), '{"os":"linux","architecture":"amd64","rootfs":{"diff_ids":[]}}');
  const secret = away.replace(/escaped$/, 'secret');
  for (const entry of [
    { Config: secret, RepoTags: null, Layers: [] },
    { Config: 'c.json', RepoTags: [away], Layers: [secret] },
  ]) {
    const items = [
      { name: 'manifest.json', data: JSON.stringify([entry]) },
      { name: 'c.json', data: '{"os":"linux","architecture":"amd64","rootfs":{"diff_ids":["x"]}}' },
      { name: away, data: 'evil' },
      { name: 'l', type: '2' as const, link: secret },
    ];
    writeFileSync(join(dir, 'd.tar'), makeTar(items));
    await refused(['copy', `docker-archive:${dir}/d.tar`, `oci:${dir}/target:x`], [3, 5]);
  }
});

it('blobs of a layout are not written where its symlinks lead', async () => {
  mkdirSync(join(dir, 'elsewhere/sha256'), { recursive: true });
  const source = `oci:${golden}/tiny-src`;
  for (const link of ['blobs', 'blobs/sha256']) {
    const layout = join(dir, 'layout');
    cpSync(join(golden, 'tiny-nydus'), layout, { recursive: true });
    rmSync(join(layout, link), { recursive: true });
    symlinkSync(
      link === 'blobs' ? join(dir, 'elsewhere') : join(dir, 'elsewhere/sha256'),
      join(layout, link),
    );
    for (const command of [['copy'], ['convert', '--no-cache']]) {
      const said = await refused([...command, source, `oci:${layout}:new`], [4]);
      expect(said).toMatch(/layout\/blobs\/sha256: (blobs|sha256) is not a directory of the layout/);
    }
    expect(readdirSync(join(dir, 'elsewhere/sha256'))).toEqual([]);
    rmSync(layout, { recursive: true });
  }
  // Of one that is shared this way it can still be read, and its index is replaced and not what a symlink leads to.
  const layout = join(dir, 'layout');
  cpSync(join(golden, 'tiny-nydus'), layout, { recursive: true });
  renameSync(join(layout, 'blobs'), join(dir, 'moved'));
  symlinkSync(join(dir, 'moved'), join(layout, 'blobs'));
  expect((await runInProcess(['check', `oci:${layout}`])).code).toBe(0);
  rmSync(join(layout, 'blobs'));
  renameSync(join(dir, 'moved'), join(layout, 'blobs'));
  renameSync(join(layout, 'index.json'), join(dir, 'index'));
  symlinkSync(join(dir, 'index'), join(layout, 'index.json'));
  const before = readFileSync(join(dir, 'index'), 'utf8');
  expect((await runInProcess(['copy', source, `oci:${layout}:new`])).code).toBe(0);
  expect(readFileSync(join(dir, 'index'), 'utf8')).toBe(before);
});

it('names in a trace are compared, not opened', async () => {
  const names = { reference: `h.io/${away}`, command: [away], blobs: [away, away] };
  writeFileSync(join(dir, 'trace'), formatTrace(traceOf([touchOf(0, 1)], names)));
  const image = `oci:${golden}/tiny-nydus`;
  const trace = join(dir, 'trace');
  await refused(['optimize', image, `oci:${dir}/target:x`, '--trace', trace], [1, 2, 3, 5, 6]);
  await refused(
    ['trace', 'show', trace, '--image', image, '--html', join(dir, 'page.html')],
    [1, 2, 3, 5, 6],
  );
});

it('an image has no name that goes up', async () => {
  for (const name of [`h.io/${away}`, `h.io/x/../${away}`, 'h.io/..', '../x', `..:5000/x`, `h.io/x:${away}`])
    for (const command of [
      ['mount', name, dir],
      ['run', name],
      ['copy', name, `oci:${dir}/target`],
    ])
      await refused(command, [2, 4, 125]);
});

it('hosts that a registry leads to are no directories of certificates', async () => {
  mkdirSync(join(dir, 'etc/certs.d/h.io'), { recursive: true });
  for (const place of ['etc/ca.crt', 'etc/certs.d/ca.crt', 'etc/certs.d/h.io/ca.crt'])
    writeFileSync(join(dir, place), '');
  const certs = (host: string) => readCertsDirs([join(dir, 'etc/certs.d')], host);
  expect((await certs('h.io')).ca).toEqual([join(dir, 'etc/certs.d/h.io/ca.crt')]);
  // URLs may have such hosts.
  for (const host of ['..', '.'])
    expect(await certs(new URL(`https://${host}/v2`).host)).toEqual({ ca: [], clients: [] });
});

it('temporary files are not made in a data root that others can write to', async () => {
  mkdirSync(join(dir, 'theirs'));
  mkdirSync(join(dir, 'open'), { mode: 0o777 });
  symlinkSync(join(dir, 'theirs'), join(dir, 'open/tmp'));
  chmodSync(join(dir, 'open'), 0o1777);
  writeFileSync(join(dir, 'trace'), formatTrace(traceOf([touchOf(0, 1)])));
  for (const target of [`oci:${dir}/target:x`, '--attach']) {
    const said = await refused(
      ['optimize', '--data-root', join(dir, 'open'), '--trace', join(dir, 'trace')].concat(
        `oci:${golden}/tiny-nydus`,
        target,
      ),
      [4],
    );
    expect(said).toMatch(/others can write to .*open \(mode 1777\)/);
  }
});
