import { isKernelAtLeast } from '../os/kernel.js';
import type { RuntimeSeccomp } from './runtime-spec.js';
import type { SeccompProfile, SyscallRule } from './seccomp-file.js';

/** What rules of a profile depend on. */
export interface SeccompTarget {
  /** `process.arch`. */
  arch: string;
  /** Release of the kernel, as uname(2) has it. */
  kernel: string;
  /** The capabilities that the container can have at all. */
  capabilities: readonly string[];
}

/** Processors of Node.js as profiles and as libseccomp call them. */
const PROCESSORS: Record<string, { name: string; libseccomp: string }> = {
  arm: { name: 'arm', libseccomp: 'SCMP_ARCH_ARM' },
  arm64: { name: 'arm64', libseccomp: 'SCMP_ARCH_AARCH64' },
  ia32: { name: 'x86', libseccomp: 'SCMP_ARCH_X86' },
  loong64: { name: 'loongarch64', libseccomp: 'SCMP_ARCH_LOONGARCH64' },
  ppc64: { name: 'ppc64le', libseccomp: 'SCMP_ARCH_PPC64LE' },
  riscv64: { name: 'riscv64', libseccomp: 'SCMP_ARCH_RISCV64' },
  s390x: { name: 's390x', libseccomp: 'SCMP_ARCH_S390X' },
  x64: { name: 'amd64', libseccomp: 'SCMP_ARCH_X86_64' },
};

/** The part of a profile that is for this machine and container, in the form of the runtime specification. */
export function resolveProfile(profile: SeccompProfile, target: SeccompTarget): RuntimeSeccomp {
  const processor = PROCESSORS[target.arch];
  const mapped = profile.archMap?.find(({ architecture }) => architecture === processor?.libseccomp);
  const architectures = mapped
    ? [mapped.architecture, ...(mapped.subArchitectures ?? [])]
    : (profile.architectures ?? []);
  const rules = (profile.syscalls ?? []).filter((rule) => isMeant(rule, processor?.name, target));
  return {
    defaultAction: profile.defaultAction,
    ...(profile.defaultErrnoRet != null && { defaultErrnoRet: profile.defaultErrnoRet }),
    ...(architectures.length > 0 && { architectures }),
    ...(profile.flags?.length && { flags: profile.flags }),
    syscalls: rules.map(({ name, names, action, errnoRet, args }) => ({
      names: name ? [name] : (names ?? []),
      action,
      ...(errnoRet != null && { errnoRet }),
      ...(args?.length && {
        args: args.map(({ index, value, valueTwo, op }) => ({ index, value, valueTwo: valueTwo ?? 0, op })),
      }),
    })),
  };
}

/** Docker's rule: of what a condition includes all capabilities are needed; of what it excludes one is enough. */
function isMeant(
  { includes, excludes }: SyscallRule,
  processor: string | undefined,
  { capabilities, kernel }: SeccompTarget,
): boolean {
  const has = (capability: string) => capabilities.includes(capability);
  const here = (names: readonly string[]) => processor !== undefined && names.includes(processor);
  const reached = (version: string) => {
    const [major = 0, minor = 0] = version.split('.').map(Number);
    return isKernelAtLeast(major, minor, kernel);
  };
  if (excludes?.arches?.length && here(excludes.arches)) return false;
  if (excludes?.caps?.some(has)) return false;
  if (excludes?.minKernel && reached(excludes.minKernel)) return false;
  if (includes?.arches?.length && !here(includes.arches)) return false;
  if (includes?.caps && !includes.caps.every(has)) return false;
  return !(includes?.minKernel && !reached(includes.minKernel));
}
