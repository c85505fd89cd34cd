import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { RunOptions } from '../../src/run/options.js';
import { missingPrograms } from '../support/programs.js';
import { RunHarness, THROWN } from './run-harness.js';
import { addProgram } from './small-rootfs.js';

/** errno(3) */
const [EPERM, ESRCH, EINVAL, ENOSYS] = [1, 3, 22, 38];
const OK = 0;
const NEW_USER = 0x10000000;
const SIGCHLD = 17;

/** Numbers of system calls (asm/unistd.h) on amd64 and arm64. */
const NUMBERS: Record<string, [number, number]> = {
  add_key: [248, 217],
  bpf: [321, 280],
  chroot: [161, 51],
  clone: [56, 220],
  clone3: [435, 435],
  io_uring_setup: [425, 425],
  keyctl: [250, 219],
  mount: [165, 40],
  perf_event_open: [298, 241],
  personality: [135, 92],
  ptrace: [101, 117],
  set_mempolicy: [238, 237],
  setns: [308, 268],
  socket: [41, 198],
  unshare: [272, 97],
  userfaultfd: [323, 282],
};

/** A call, its arguments as Perl has them, and its errno under Docker's profile. */
const CALLS: [string, string, number][] = [
  ['keyctl', '0, -3, 0', EPERM],
  ['add_key', '"user", "x", "y", 1, -3', EPERM],
  ['unshare', `${NEW_USER}`, EPERM],
  ['setns', '0, 0', EPERM],
  ['mount', '"none", "/tmp", "tmpfs", 0, 0', EPERM],
  ['bpf', '0, 0, 0', EPERM],
  ['perf_event_open', '0, 0, -1, -1, 0', EPERM],
  ['io_uring_setup', '1, 0', EPERM],
  ['userfaultfd', '0', EPERM],
  ['set_mempolicy', '0, 0, 0', EPERM],
  ['clone3', '0, 0', ENOSYS],
  // AF_ALG, AF_VSOCK; AF_INET, AF_UNIX.
  ['socket', '38, 5, 0', EPERM],
  ['socket', '40, 1, 0', EPERM],
  ['socket', '2, 1, 0', OK],
  ['socket', '1, 1, 0', OK],
  // ADDR_NO_RANDOMIZE; only asking.
  ['personality', `${0x40000}`, EPERM],
  ['personality', `${0xffffffff}`, OK],
  ['chroot', '"/"', OK],
  // PTRACE_PEEKDATA of no process. One that is traced itself would be stopped for good by whatever signal came.
  ['ptrace', `2, ${2 ** 22}, 0, 0`, ESRCH],
  ['clone', `${NEW_USER | SIGCHLD}, 0, 0, 0, 0`, EPERM],
];

const processor = ['x64', 'arm64'].indexOf(process.arch);
const missing =
  missingPrograms('runc', 'perl') ??
  (processor < 0 ? `no numbers of system calls for ${process.arch}` : undefined) ??
  (existsSync('/proc/sys/kernel/seccomp/actions_avail') ? undefined : 'the kernel has no seccomp');

describe('the system calls of a container', () => {
  let harness: RunHarness;
  beforeEach((ctx) => {
    if (missing) ctx.skip(missing);
  });
  beforeAll(() => {
    if (missing) return;
    harness = new RunHarness();
    for (const program of ['perl', 'seq', 'sort', 'tail']) addProgram(harness.lower, program);
  });
  afterAll(() => {
    if (missing) return;
    expect(harness.leftovers()).toEqual([]);
    harness.close();
  });

  /** Makes calls in a container; the errno of each. */
  function errnos(calls: readonly [string, string, number?][], options: RunOptions = {}): string[] {
    const script = calls
      .map(
        ([name, args]) =>
          `my @a = (${args}); my $r = syscall(${NUMBERS[name]![processor]}, @a); print $r == -1 ? $!+0 : 0, "\\n";`,
      )
      .join('\n');
    const { code, stdout, stderr } = harness.run({ ...options, command: ['perl', '-e', script] });
    expect(code, stderr).toBe(0);
    return stdout
      .trimEnd()
      .split('\n')
      .map((errno, i) => `${calls[i]![0]}(${calls[i]![1]}): ${errno}`);
  }
  const expected = (calls: typeof CALLS) => calls.map(([name, args, errno]) => `${name}(${args}): ${errno}`);

  it('are those that Docker lets it make, as root and as another user', () => {
    expect(errnos(CALLS)).toEqual(expected(CALLS));
    const others = CALLS.filter(([name]) => name !== 'chroot');
    expect(errnos(others, { user: 'app' })).toEqual(expected(others));
  });

  it('are all with seccomp=unconfined, so that it was the profile', () => {
    const calls: typeof CALLS = [
      ['keyctl', '0, -3, 0', OK],
      ['set_mempolicy', '0, 0, 0', OK],
      ['clone3', '0, 0', EINVAL],
      ['personality', `${0x40000}`, OK],
      ['unshare', `${NEW_USER}`, OK],
    ];
    expect(errnos(calls, { securityOptions: ['seccomp=unconfined'] })).toEqual(expected(calls));
  });

  it('are enough for threads: the C library falls back from clone3 to clone', () => {
    expect(harness.sh('seq 300000 -1 1 | sort --parallel=2 -n | tail -n 1')).toBe('300000');
  });

  it('are those of a profile in a file', () => {
    const profile = join(harness.shared(), 'profile.json');
    const names = ['mkdir', 'mkdirat'];
    writeFileSync(
      profile,
      JSON.stringify({
        defaultAction: 'SCMP_ACT_ALLOW',
        archMap: [{ architecture: 'SCMP_ARCH_X86_64', subArchitectures: ['SCMP_ARCH_X86'] }],
        syscalls: [{ names, action: 'SCMP_ACT_ERRNO', errnoRet: 28, excludes: { caps: ['CAP_SYS_ADMIN'] } }],
      }),
    );
    const { code, stderr } = harness.run({
      command: ['mkdir', '/new'],
      securityOptions: [`seccomp=${profile}`],
    });
    expect(code).toBe(1);
    expect(stderr).toContain('No space left on device');
  });

  it('give no more rights with no-new-privileges', () => {
    chmodSync(join(harness.lower, 'bin/id'), 0o4755);
    const options = { user: 'app', securityOptions: ['no-new-privileges'] };
    expect(harness.sh('id -u', { user: 'app' })).toBe('0');
    expect(harness.sh('id -u; grep -E "^(NoNewPrivs|Seccomp):" /proc/self/status', options)).toBe(
      '1000\nNoNewPrivs:\t1\nSeccomp:\t2',
    );
  });

  it('are never more than asked for by mistake: nothing is started', () => {
    const { code, stderr } = harness.run({ command: ['sh'], securityOptions: ['seccomp=none-such'] });
    expect(code).toBe(THROWN);
    expect(stderr).toMatch(/^NOT_FOUND: seccomp profile none-such: there is no such file/);
  });

  it('cannot be held back by a runc without seccomp, which is said with what to do', () => {
    const bin = harness.shared();
    const message =
      'runc run failed: error during container init: seccomp: config provided but seccomp not supported';
    writeFileSync(
      join(bin, 'runc'),
      `#!/bin/sh\necho '${JSON.stringify({ level: 'error', msg: message })}' >"$4"\nexit 1\n`,
      { mode: 0o755 },
    );
    const { code, stderr } = harness.run(
      { command: ['sh'] },
      { env: { PATH: `${bin}:${process.env.PATH}` } },
    );
    expect(code).toBe(THROWN);
    expect(stderr).toMatch(
      /^UNSUPPORTED: .*runc was built without seccomp \(--security-opt seccomp=unconfined/,
    );
  });
});

it.skipIf(missing)('the machine’s own list of system calls names all that are tried', () => {
  const header = '/usr/include/x86_64-linux-gnu/asm/unistd_64.h';
  if (process.arch !== 'x64' || !existsSync(header)) return;
  const text = readFileSync(header, 'utf8');
  for (const [name, [number]] of Object.entries(NUMBERS))
    expect(text).toMatch(new RegExp(`__NR_${name} ${number}\\n`));
});
