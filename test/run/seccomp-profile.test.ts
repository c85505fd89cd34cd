import { describe, expect, it } from 'vitest';
import { DEFAULT_CAPABILITIES } from '../../src/run/docker-defaults.js';
import { DEFAULT_PROFILE } from '../../src/run/seccomp-default.js';
import { MAX_PROFILE_SIZE, parseProfile } from '../../src/run/seccomp-file.js';
import { resolveProfile, type SeccompTarget } from '../../src/run/seccomp-profile.js';

const here: SeccompTarget = { arch: 'x64', kernel: '6.12.0', capabilities: DEFAULT_CAPABILITIES };
const resolved = (target: Partial<SeccompTarget> = {}) =>
  resolveProfile(DEFAULT_PROFILE, { ...here, ...target });
const rulesFor = (name: string, target: Partial<SeccompTarget> = {}) =>
  resolved(target).syscalls.filter(({ names }) => names.includes(name));

describe('Docker’s default profile', () => {
  it('refuses with EPERM what it does not name, on the processor and its 32-bit sisters', () => {
    expect(resolved()).toMatchObject({
      defaultAction: 'SCMP_ACT_ERRNO',
      defaultErrnoRet: 1,
      architectures: ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86', 'SCMP_ARCH_X32'],
    });
    expect(resolved({ arch: 'arm64' }).architectures).toEqual(['SCMP_ARCH_AARCH64', 'SCMP_ARCH_ARM']);
    // One that the profile does not list: the runtime takes its own.
    expect(resolved({ arch: 'ppc64' }).architectures).toBeUndefined();
  });

  it.each([
    'keyctl',
    'add_key',
    'request_key',
    'io_uring_setup',
    'userfaultfd',
    'kexec_load',
    'swapon',
    'nfsservctl',
  ])('never names %s', (name) => {
    expect(rulesFor(name)).toEqual([]);
  });

  it('opens calls by capability', () => {
    for (const name of ['mount', 'unshare', 'setns', 'bpf', 'reboot'])
      expect(rulesFor(name), name).toEqual([]);
    expect(rulesFor('chroot')).toHaveLength(1);
    const admin = { capabilities: ['CAP_SYS_ADMIN'] };
    expect(rulesFor('mount', admin)).toHaveLength(1);
    expect(rulesFor('chroot', admin)).toEqual([]);
    expect(rulesFor('clone3', admin)).toEqual([expect.objectContaining({ action: 'SCMP_ACT_ALLOW' })]);
    expect(rulesFor('clone', admin)).toEqual([expect.not.objectContaining({ args: expect.anything() })]);
  });

  it('looks at the flags of clone where the processor has them', () => {
    const flags = { value: 0x7e020000, valueTwo: 0, op: 'SCMP_CMP_MASKED_EQ' };
    expect(rulesFor('clone')).toEqual([expect.objectContaining({ args: [{ index: 0, ...flags }] })]);
    expect(rulesFor('clone', { arch: 's390x' })).toEqual([
      expect.objectContaining({ args: [{ index: 1, ...flags }] }),
    ]);
    expect(rulesFor('clone3')).toEqual([{ names: ['clone3'], action: 'SCMP_ACT_ERRNO', errnoRet: 38 }]);
  });

  it('has calls of one processor there only, and tracing from Linux 4.8 on', () => {
    expect(rulesFor('arch_prctl')).toHaveLength(1);
    expect(rulesFor('arch_prctl', { arch: 'arm64' })).toEqual([]);
    expect(rulesFor('set_tls', { arch: 'arm64' })).toHaveLength(1);
    expect(rulesFor('ptrace')).toHaveLength(1);
    expect(rulesFor('ptrace', { kernel: '4.7.10' })).toEqual([]);
  });

  it('is what its own form says, and no call stands in a rule twice', () => {
    expect(parseProfile(Buffer.from(JSON.stringify(DEFAULT_PROFILE)), 'p')).toEqual(DEFAULT_PROFILE);
    for (const { names } of DEFAULT_PROFILE.syscalls!) expect(new Set(names).size).toBe(names!.length);
    expect(DEFAULT_PROFILE.syscalls![0]!.names!.length).toBeGreaterThan(350);
  });
});

describe('a profile in a file', () => {
  const parse = (value: unknown) => parseProfile(Buffer.from(JSON.stringify(value)), 'p.json');
  const rule = { names: ['mkdir'], action: 'SCMP_ACT_ERRNO' };

  it('may name one call as Docker did first, and needs all capabilities that it includes', () => {
    const profile = parse({
      defaultAction: 'SCMP_ACT_ALLOW',
      architectures: ['SCMP_ARCH_X86_64'],
      flags: ['SECCOMP_FILTER_FLAG_LOG'],
      syscalls: [
        { name: 'mkdir', action: 'SCMP_ACT_KILL', args: [] },
        { ...rule, includes: { caps: ['CAP_CHOWN', 'CAP_SYS_ADMIN'] } },
        { ...rule, excludes: { minKernel: '6.12' } },
      ],
    });
    expect(resolveProfile(profile, here)).toEqual({
      defaultAction: 'SCMP_ACT_ALLOW',
      architectures: ['SCMP_ARCH_X86_64'],
      flags: ['SECCOMP_FILTER_FLAG_LOG'],
      syscalls: [{ names: ['mkdir'], action: 'SCMP_ACT_KILL' }],
    });
  });

  it.each([
    [{}, /p\.json: defaultAction/],
    [{ defaultAction: 'ALLOW' }, /defaultAction: is no action/],
    [{ defaultAction: 'SCMP_ACT_ALLOW', architectures: ['A'], archMap: [{ architecture: 'A' }] }, /has both/],
    [{ defaultAction: 'SCMP_ACT_ALLOW', syscalls: [{ ...rule, name: 'x' }] }, /syscalls\.0: has both name/],
    [{ defaultAction: 'SCMP_ACT_ALLOW', syscalls: [{ action: rule.action }] }, /syscalls\.0: names no call/],
    [{ defaultAction: 'SCMP_ACT_ALLOW', syscalls: [{ ...rule, errnoRet: 4096 }] }, /syscalls\.0\.errnoRet/],
    [
      {
        defaultAction: 'SCMP_ACT_ALLOW',
        syscalls: [{ ...rule, args: [{ index: 6, value: 0, op: 'SCMP_CMP_EQ' }] }],
      },
      /args\.0\.index/,
    ],
    [
      {
        defaultAction: 'SCMP_ACT_ALLOW',
        syscalls: [{ ...rule, args: [{ index: 0, value: 2 ** 63, op: 'SCMP_CMP_EQ' }] }],
      },
      /args\.0\.value: is no whole number up to/,
    ],
  ])('that is wrong is an error with the field: %j', (value, message) => {
    expect(() => parse(value)).toThrowError(
      expect.objectContaining({ code: 'MALFORMED', message: expect.stringMatching(message) }),
    );
  });

  it('has at most the bytes of the limit', () => {
    const text = JSON.stringify({ defaultAction: 'SCMP_ACT_ALLOW' });
    expect(parseProfile(Buffer.from(text.padEnd(MAX_PROFILE_SIZE)), 'p')).toHaveProperty('defaultAction');
    expect(() => parseProfile(Buffer.from(text.padEnd(MAX_PROFILE_SIZE + 1)), 'p')).toThrowError(
      expect.objectContaining({ code: 'LIMIT_EXCEEDED' }),
    );
  });
});
