import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, readFileSync, realpathSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { mount, unmount } from '../../src/os/mount.js';
import { makeCertificate } from '../support/certificates.js';
import { type CommandLine, createCommandLine } from '../support/command-line.js';
import { missingPrograms } from '../support/programs.js';

// Mistakes that are the machine's: each is made for real, in a mount namespace of its own where it would hurt others.
const checkout = resolve(import.meta.dirname, '../..');
const golden = join(checkout, 'fixtures/golden/oci');
const lazy = `oci:${golden}/tiny-nydus`;
const plain = `oci:${golden}/tiny-src`;
const NOBODY = 65534;

let cli: CommandLine;
let places: string;
beforeAll(() => {
  cli = createCommandLine();
  chmodSync(cli.dir, 0o755);
  places = `--run-dir ${cli.dir}/run --data-root ${cli.dir}/data`;
  for (const name of ['mnt', 'disk', 'dev', 'checkout', 'open']) mkdirSync(join(cli.dir, name));
  chmodSync(join(cli.dir, 'open'), 0o777);
});
afterAll(async () => expect(await cli.remove()).toEqual([]));

interface Outcome {
  code: number | null;
  stderr: string;
}

/** Runs a shell script in which `rafter` is this program. */
async function shell(script: string, wrapper: readonly string[] = []): Promise<Outcome> {
  const text = `rafter() { ${process.execPath} ${checkout}/bin/rafter "$@"; }; cd ${cli.dir}; ${script}`;
  const [program = 'bash', ...args] = [...wrapper, 'bash', '-c', text];
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  let stderr = '';
  child.stderr.on('data', (piece: Buffer) => (stderr += piece.toString()));
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, stderr };
}

/** One line that says what and where, one that says what to do. */
function judge({ code, stderr }: Outcome, expected: { code: number; says: RegExp; hint: RegExp }): void {
  const lines = stderr
    .trimEnd()
    .split('\n')
    .filter((line) => !/^(layer \d|warning: )/.test(line));
  expect(lines[0]).toMatch(/^rafter: \S/);
  expect(lines[0]).toMatch(expected.says);
  expect(lines[1]).toMatch(/^hint: \S/);
  expect(lines[1]).toMatch(expected.hint);
  expect(lines, stderr).toHaveLength(2);
  expect(code, stderr).toBe(expected.code);
}

describe.skipIf(process.geteuid?.() !== 0 ? 'needs root' : missingPrograms('unshare', 'setpriv'))(
  'on a machine',
  () => {
    it('without /dev/fuse nothing is mounted, and that is said', async () => {
      const devices = 'null zero full random urandom tty';
      const hidden = `mount -t tmpfs none dev
        for name in ${devices}; do touch dev/$name; mount --bind /dev/$name dev/$name; done; mount --rbind dev /dev`;
      judge(await shell(`${hidden}; rafter mount ${places} ${lazy} mnt`, ['unshare', '-m']), {
        code: 6,
        says: /has no \/dev\/fuse/,
        hint: /modprobe fuse/,
      });
      await cli.run('daemon', 'stop');
    });

    it('without runc no container is run', async (ctx) => {
      const reason = missingPrograms('runc');
      if (reason) ctx.skip(reason);
      const hidden = `for file in $(type -ap runc | xargs realpath | sort -u); do mount --bind /dev/null $file; done`;
      judge(await shell(`${hidden}; rafter run ${places} ${lazy} -- true`, ['unshare', '-m']), {
        code: 125,
        says: /need runc, which is not installed/,
        hint: /apt-get install runc/,
      });
      await cli.run('daemon', 'stop');
    });

    it('with a busy mount point says what to do about it', async () => {
      const at = join(cli.dir, 'mnt');
      await cli.ok('mount', lazy, at);
      judge(await shell(`rafter mount ${places} ${lazy} mnt`), {
        code: 1,
        says: /mnt is a mount point already/,
        hint: /umount .*mnt/,
      });
      judge(await shell(`cd mnt; rafter umount ${places} ${at}`), {
        code: 1,
        says: /cannot unmount .*mnt: EBUSY/,
        hint: /fuser -vm/,
      });
      await cli.ok('umount', at);
    });

    it('with a full disk names the place, and leaves nothing there', async () => {
      const disk = join(cli.dir, 'disk');
      const full = { code: 1, says: /disk\b.*: the disk is full \(ENOSPC\)/, hint: /make room/ };
      for (const command of [
        `copy ${plain} oci:disk/x`,
        `unpack ${lazy} disk/tree`,
        `mount ${places} --run-dir ${cli.dir}/run2 --data-root ${disk}/data ${lazy} mnt`,
      ]) {
        mount({ source: 'rafter-test', target: disk, type: 'tmpfs', data: 'size=16k' });
        try {
          judge(await shell(`rafter ${command}; code=$?; ls -A disk >left; exit $code`), full);
          if (!command.startsWith('mount')) expect(readFileSync(join(cli.dir, 'left'), 'utf8')).toBe('');
        } finally {
          if (command.startsWith('mount')) await shell(`rafter daemon stop --run-dir ${cli.dir}/run2`);
          unmount(disk, { detach: true });
        }
      }
      judge(await shell('rafter config schema >/dev/full'), {
        code: 1,
        says: /standard output cannot be written: the disk is full/,
        hint: /results are not whole/,
      });
    });

    it('with a kernel that is too old says which is needed, and doctor what follows from it', async () => {
      // No machine has an older kernel for a test; but on tmpfs every kernel refuses EROFS as those before 6.12 do everywhere.
      const tmpfs = 'mount -t tmpfs -o mode=700 none disk';
      const own = `--run-dir ${cli.dir}/run3 --data-root ${cli.dir}/disk`;
      const mounted = `rafter mount --driver erofs --backing file ${own} ${lazy} mnt; code=$?; rafter daemon stop ${own} 2>/dev/null; exit $code`;
      judge(await shell(`${tmpfs}; ${mounted}`, ['unshare', '-m']), {
        code: 6,
        says: /cannot mount erofs of files/,
        hint: /needs Linux 6\.12/,
      });
      const release = '/proc/sys/kernel/osrelease';
      const old = `echo 4.19.0-27-amd64 >release; mount --bind release ${release}`;
      const { code } = await shell(`${old}; rafter doctor >found`, ['unshare', '-m']);
      expect(code).toBe(6);
      const found = readFileSync(join(cli.dir, 'found'), 'utf8');
      expect(found).toMatch(/^kernel +MISSING +Linux 4\.19 +mount, run$/m);
      expect(found).toMatch(/^kernel: its FUSE is too old.*\n {2}use a kernel from 4\.20 on$/m);
    });

    it('with a daemon that cannot start says why where it was started', async () => {
      judge(await shell('touch a-file; rafter daemon run --run-dir run4 --data-root a-file'), {
        code: 1,
        says: /cannot make the directory .*a-file: something else is there already \(EEXIST\)/,
        hint: /--data-root/,
      });
    });

    it('tells a user without root what needs root', async () => {
      // A checkout may stand where other users cannot look, such as root's home.
      const seen = `mount --bind ${checkout} checkout; mount --rbind ${realModules()} checkout/node_modules`;
      const as = (command: string) =>
        shell(
          `${seen}; exec setpriv --reuid ${NOBODY} --regid ${NOBODY} --clear-groups env HOME=/nonexistent \
            ${process.execPath} checkout/bin/rafter ${command}`,
          ['unshare', '-m'],
        );
      const image = 'oci:checkout/fixtures/golden/oci/tiny-nydus';
      const own = `--run-dir ${cli.dir}/run --data-root ${cli.dir}/data`;
      const [run, unpack, mounted, copied] = await Promise.all([
        as(`run ${own} ${image}`),
        as(`unpack ${image} open/tree`),
        as(`mount ${own} ${image} mnt`),
        as(`copy ${image} oci:disk/x`),
      ]);
      judge(run, { code: 125, says: /running a container needs root/, hint: /sudo rafter run/ });
      judge(unpack, { code: 4, says: /needs root/, hint: /sudo/ });
      judge(mounted, { code: 4, says: /run belongs to user 0$/, hint: /--run-dir/ });
      judge(copied, { code: 4, says: /disk: this user may not do that/, hint: /another place/ });
    });
  },
);

/** Where the packages of this checkout really are. */
const realModules = () => realpathSync(join(checkout, 'node_modules'));

describe.skipIf(missingPrograms('openssl'))('a certificate', () => {
  /** A certificate for 127.0.0.1, signed by itself, that is valid between two times (openssl ca(1): YYYYMMDDHHMMSSZ). */
  function certificateValid(from: string, to: string): { cert: string; key: string } {
    const { key } = makeCertificate(cli.dir, `key${from}`);
    const [config, cert, request] = ['ca.cnf', `${from}.pem`, `${from}.csr`].map((name) =>
      join(cli.dir, name),
    ) as [string, string, string];
    writeFileSync(join(cli.dir, 'index.txt'), '');
    writeFileSync(join(cli.dir, 'serial'), '01');
    writeFileSync(
      config,
      `[ca]\ndefault_ca=d\n[d]\ndatabase=${cli.dir}/index.txt\nserial=${cli.dir}/serial\nnew_certs_dir=${cli.dir}\ndefault_md=sha256\npolicy=p
[p]\ncommonName=supplied\n[x]\nbasicConstraints=CA:TRUE\nsubjectAltName=IP:127.0.0.1\n`,
    );
    execFileSync('openssl', ['req', '-new', '-key', key, '-subj', '/CN=test', '-out', request], {
      stdio: 'pipe',
    });
    const dates = ['-startdate', from, '-enddate', to];
    const own = ['-selfsign', '-keyfile', key, '-notext', '-extensions', 'x'];
    execFileSync(
      'openssl',
      ['ca', '-batch', '-config', config, ...own, ...dates, '-in', request, '-out', cert],
      {
        stdio: 'pipe',
      },
    );
    return { cert, key };
  }

  it.each([
    ['that has expired', '20200101000000Z', '20210101000000Z', 'CERT_HAS_EXPIRED'],
    ['of the future: the clock is slow', '20700101000000Z', '20710101000000Z', 'CERT_NOT_YET_VALID'],
  ])('%s', async (_, from, to, says) => {
    const { cert, key } = certificateValid(from, to);
    const server: Server = createServer({ cert: readFileSync(cert), key: readFileSync(key) });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    try {
      const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
      judge(await shell(`rafter inspect --ca ${cert} ${host}/x`), {
        code: 1,
        says: new RegExp(`${host}.*certificate is not valid now \\(${says}\\)`),
        hint: /clock|date/,
      });
    } finally {
      server.close();
    }
  });
});
