import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { findLogin } from '../../src/registry/auth-file.js';
import { eraseLogin, storeLogin } from '../../src/registry/login-store.js';

const anna = { username: 'anna', password: 'open:sesame s3cret' };
const hub = 'registry-1.docker.io';
let directory: string;
let config: string;
let savedPath: string | undefined;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'rafter-store-'));
  config = join(directory, 'config.json');
  savedPath = process.env.PATH;
  process.env.PATH = `${directory}:${savedPath}`;
});
afterEach(() => {
  process.env.PATH = savedPath;
  rmSync(directory, { recursive: true, force: true });
});

const readConfig = () => JSON.parse(readFileSync(config, 'utf8'));
const base64 = (text: string) => Buffer.from(text).toString('base64');

/** A helper that keeps what it is given in the file `kept`, and its arguments in `calls`. */
function installHelper(name: string): void {
  const path = join(directory, `docker-credential-${name}`);
  const kept = join(directory, 'kept');
  writeFileSync(
    path,
    `#!/bin/sh
echo "$@" >> ${directory}/calls
case "$1" in
  store) cat > ${kept};;
  get) read -r server
    if [ -e ${kept} ] && grep -qF "\\"$server\\"" ${kept}; then cat ${kept}
    else echo 'credentials not found in native keychain'; exit 1; fi;;
  erase) rm ${kept};;
  *) exit 3;;
esac
`,
  );
  chmodSync(path, 0o755);
}

it('keeps Docker Hub under the name that docker gives it', async () => {
  await storeLogin(config, hub, anna);
  expect(readConfig()).toEqual({
    auths: { 'https://index.docker.io/v1/': { auth: base64('anna:open:sesame s3cret') } },
  });
  expect(await findLogin(config, hub, 'library/x')).toMatchObject(anna);
  expect(await eraseLogin(config, hub)).toBe(true);
  expect(readConfig()).toEqual({ auths: {} });
});

it('keeps an identity token in place of the password', async () => {
  await storeLogin(config, 'h.io', { ...anna, identityToken: 'idt' });
  expect(readConfig()).toEqual({ auths: { 'h.io': { auth: base64('anna:'), identitytoken: 'idt' } } });
  expect(await findLogin(config, 'h.io', 'x')).toEqual({ kind: 'identity-token', token: 'idt' });
});

it.each([{ credsStore: 'mine' }, { credHelpers: { 'h.io': 'mine' } }])(
  'gives it to the helper on its standard input, and makes it forget: %j',
  async (content) => {
    installHelper('mine');
    writeFileSync(config, JSON.stringify(content));
    expect(await storeLogin(config, 'h.io', anna)).toBe('mine');
    expect(JSON.parse(readFileSync(join(directory, 'kept'), 'utf8'))).toEqual({
      ServerURL: 'h.io',
      Username: 'anna',
      Secret: anna.password,
    });
    expect(readConfig()).toEqual({ ...content, auths: { 'h.io': {} } });
    expect(await findLogin(config, 'h.io', 'x')).toMatchObject(anna);
    expect(await eraseLogin(config, 'h.io')).toBe(true);
    expect(existsSync(join(directory, 'kept'))).toBe(false);
    expect(readConfig()).toEqual({ ...content, auths: {} });
    expect(await eraseLogin(config, 'h.io')).toBe(false);
    expect(readFileSync(join(directory, 'calls'), 'utf8').split('\n')).toContain('store');
    expect(readFileSync(join(directory, 'calls'), 'utf8')).not.toMatch(/s3cret|h\.io/);
  },
);

it('gives an identity token to the helper under the name that says so', async () => {
  installHelper('mine');
  writeFileSync(config, '{"credsStore":"mine"}');
  await storeLogin(config, hub, { ...anna, identityToken: 'idt' });
  expect(await findLogin(config, hub, 'library/x')).toEqual({ kind: 'identity-token', token: 'idt' });
});

it('leaves the file alone when the helper fails', async () => {
  writeFileSync(join(directory, 'docker-credential-bad'), '#!/bin/sh\ncat; exit 1\n', { mode: 0o755 });
  writeFileSync(config, '{"credsStore":"bad"}');
  const error = await storeLogin(config, 'h.io', anna).catch((caught: Error) => caught);
  expect(error).toMatchObject({ code: 'FAILED', message: expect.stringContaining('store failed for h.io') });
  expect(String(error)).not.toContain('s3cret');
  expect(readFileSync(config, 'utf8')).toBe('{"credsStore":"bad"}');
});

it('writes through a link to the file that is meant', async () => {
  writeFileSync(join(directory, 'real.json'), '{}');
  symlinkSync('real.json', config);
  await storeLogin(config, 'h.io', anna);
  expect(lstatSync(config).isSymbolicLink()).toBe(true);
  expect(readdirSync(directory).sort()).toEqual(['config.json', 'real.json']);
  expect(await findLogin(config, 'h.io', 'x')).toMatchObject(anna);
});

it('loses none of many log-ins at the same time', async () => {
  const hosts = Array.from({ length: 12 }, (_, i) => `h${i}.io`);
  await Promise.all(hosts.map((host) => storeLogin(config, host, anna)));
  expect(Object.keys(readConfig().auths).sort()).toEqual(hosts.sort());
});

it('forgets a host under all its names, but not its parts', async () => {
  const auths = {
    'h.io': {},
    'https://h.io/v2/': {},
    'http://h.io': {},
    'h.io/team': { auth: base64('a:b') },
    'other.io': {},
  };
  writeFileSync(config, JSON.stringify({ auths }));
  expect(await eraseLogin(config, 'h.io')).toBe(true);
  expect(Object.keys(readConfig().auths)).toEqual(['h.io/team', 'other.io']);
  expect(await eraseLogin(join(directory, 'none.json'), 'h.io')).toBe(false);
  expect(readdirSync(directory)).toEqual(['config.json']);
});

it('does not touch a file that it does not understand', async () => {
  writeFileSync(config, '{"auths": s3cret');
  await expect(storeLogin(config, 'h.io', anna)).rejects.toMatchObject({ code: 'MALFORMED' });
  expect(readFileSync(config, 'utf8')).toBe('{"auths": s3cret');
});
