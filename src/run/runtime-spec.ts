/** The parts of an OCI runtime configuration (runtime-spec 1.0.2, config.md) that are written here. */
export interface RuntimeSpec {
  ociVersion: string;
  hostname: string;
  root: { path: string; readonly: boolean };
  process: {
    terminal: boolean;
    consoleSize?: { height: number; width: number };
    user: { uid: number; gid: number; additionalGids: number[] };
    args: string[];
    env: string[];
    cwd: string;
    capabilities: Partial<Record<CapabilitySet, readonly string[]>>;
    rlimits: { type: string; soft: number; hard: number }[];
    noNewPrivileges: boolean;
  };
  mounts: RuntimeMount[];
  linux: {
    namespaces: { type: string }[];
    resources: { devices: { allow: boolean; access: string }[] };
    sysctl: Record<string, string>;
    maskedPaths: readonly string[];
    readonlyPaths: readonly string[];
    seccomp?: RuntimeSeccomp;
  };
}

/** Which system calls a container may make (runtime-spec, config-linux.md, seccomp). */
export interface RuntimeSeccomp {
  defaultAction: string;
  defaultErrnoRet?: number;
  architectures?: readonly string[];
  flags?: readonly string[];
  syscalls: {
    names: readonly string[];
    action: string;
    errnoRet?: number;
    args?: { index: number; value: number; valueTwo: number; op: string }[];
  }[];
}

type CapabilitySet = 'bounding' | 'effective' | 'permitted' | 'inheritable' | 'ambient';

export interface RuntimeMount {
  destination: string;
  type: string;
  source: string;
  options: string[];
}
