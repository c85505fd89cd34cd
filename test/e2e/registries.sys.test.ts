import { execFile } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type CommandLine, createCommandLine } from '../support/command-line.js';
import { missingPrograms } from '../support/programs.js';
import { startRegistry, type TestRegistry } from '../support/registry-server.js';

const tiny = resolve(import.meta.dirname, '../../fixtures/golden/oci/tiny-src');
const user = { user: 'ci', password: 'pass:word' };
const creds = ['--creds', `${user.user}:${user.password}`];

describe.skipIf(missingPrograms('docker-registry', 'htpasswd'))('a small image and two registries', () => {
  let rafter: CommandLine;
  let open: TestRegistry;
  let closed: TestRegistry;

  beforeAll(async () => {
    rafter = createCommandLine();
    [open, closed] = await Promise.all([startRegistry(), startRegistry({ htpasswd: user })]);
    await rafter.ok('copy', `oci:${tiny}`, `${open.host}/tiny:1`);
  });

  afterAll(async () => {
    await Promise.all([open?.stop(), closed?.stop()]);
    expect(await rafter?.remove()).toEqual([]);
  });

  it('gives the same image from a layout and from a registry', async () => {
    const fromLayout = JSON.parse(
      (await rafter.ok('convert', '--json', `oci:${tiny}`, `${open.host}/tiny:a`)).stdout,
    );
    const fromRegistry = JSON.parse(
      (await rafter.ok('convert', '--json', `${open.host}/tiny:1`, `oci:${rafter.dir}/layout:b`)).stdout,
    );
    expect(fromRegistry.layers.map((layer: { blobDigest: string }) => layer.blobDigest)).toEqual(
      fromLayout.layers.map((layer: { blobDigest: string }) => layer.blobDigest),
    );
  });

  it('converts from one registry to another that wants a password, and mounts from there', async () => {
    const image = `${closed.host}/team/tiny:nydus`;
    await rafter.ok('convert', `${open.host}/tiny:1`, image, '--dest-creds', creds[1]!);
    const place = join(rafter.dir, 'mnt');
    mkdirSync(place);
    await rafter.ok('mount', ...creds, image, place);
    const { stdout } = await promisify(execFile)('find', [place, '-type', 'f', '-exec', 'cat', '{}', '+']);
    expect(stdout.length).toBeGreaterThan(0);
    await rafter.ok('umount', place);
    const written = readdirSync(rafter.dir, { recursive: true, encoding: 'utf8', withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => readFileSync(join(entry.parentPath, entry.name)));
    expect(written.some((bytes) => bytes.includes(user.password))).toBe(false);
  });

  it('takes the password from docker login', async () => {
    const auth = Buffer.from(`${user.user}:${user.password}`).toString('base64');
    writeFileSync(join(rafter.dir, 'config.json'), JSON.stringify({ auths: { [closed.host]: { auth } } }));
    process.env.DOCKER_CONFIG = rafter.dir;
    try {
      await rafter.ok('copy', `oci:${tiny}`, `${closed.host}/tiny:docker`);
    } finally {
      delete process.env.DOCKER_CONFIG;
    }
  });

  const emptyDirectory = () => {
    const path = join(rafter.dir, 'empty');
    mkdirSync(path, { recursive: true });
    return path;
  };

  it.each([
    [4, 'no password', ['copy', `oci:${tiny}`, 'CLOSED/tiny:x']],
    [4, 'a wrong password', ['copy', '--creds', 'ci:wrong', `oci:${tiny}`, 'CLOSED/tiny:x']],
    [3, 'no such tag', ['convert', 'OPEN/tiny:nonesuch', 'OPEN/tiny:x']],
    [3, 'no such repository', ['convert', 'OPEN/nonesuch:1', 'OPEN/tiny:x']],
    [6, 'an ordinary image to mount', ['mount', 'OPEN/tiny:1', 'EMPTY']],
    [2, 'a reference that is none', ['convert', 'OPEN/Upper:1', 'OPEN/tiny:x']],
    [1, 'a registry that is not there', ['convert', '127.0.0.1:1/x:1', 'OPEN/tiny:x']],
  ])('ends with %d for %s, one line and nothing at the target', async (code, _what, args) => {
    const empty = emptyDirectory();
    const words = args.map((word) =>
      word.replace('OPEN', open.host).replace('CLOSED', closed.host).replace('EMPTY', empty),
    );
    const result = await rafter.run(...words);
    expect(result).toMatchObject({ code, stdout: '' });
    expect(result.stderr).toMatch(/^rafter: [^\n]+\n(hint: [^\n]+\n)?$/);
    expect(result.stderr).not.toContain('wrong');
    expect(await rafter.run('copy', `${open.host}/tiny:x`, `oci:${rafter.dir}/x:x`)).toMatchObject({
      code: 3,
    });
  });
});
