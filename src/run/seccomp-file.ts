import * as v from 'valibot';
import { checkShape, parseJsonObject } from '../image/json.js';

/** Most bytes of a profile; Docker's has 20,000. */
export const MAX_PROFILE_SIZE = 1 << 20;

const word = v.pipe(v.string(), v.minLength(1));
const words = v.nullish(v.array(word));
const action = v.pipe(v.string(), v.regex(/^SCMP_ACT_[A-Z_]+$/, 'is no action of seccomp'));
const errno = v.nullish(v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(4095)));
const argument = v.pipe(v.number(), v.safeInteger('is no whole number up to 2^53'), v.minValue(0));
const condition = v.object({
  caps: words,
  arches: words,
  minKernel: v.nullish(v.pipe(v.string(), v.regex(/^\d+\.\d+$/, 'is no version as 4.8'))),
});

const ruleSchema = v.pipe(
  v.object({
    name: v.nullish(v.string()),
    names: words,
    action,
    errnoRet: errno,
    args: v.nullish(
      v.array(
        v.object({
          index: v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(5)),
          value: argument,
          valueTwo: v.nullish(argument),
          op: v.pipe(v.string(), v.regex(/^SCMP_CMP_[A-Z_]+$/, 'is no comparison of seccomp')),
        }),
      ),
    ),
    includes: v.nullish(condition),
    excludes: v.nullish(condition),
  }),
  v.check(({ name, names }) => !(name && names?.length), 'has both name and names'),
  v.check(({ name, names }) => Boolean(name || names?.length), 'names no call'),
);

const profileSchema = v.pipe(
  v.object({
    defaultAction: action,
    defaultErrnoRet: errno,
    architectures: words,
    archMap: v.nullish(v.array(v.object({ architecture: word, subArchitectures: words }))),
    flags: words,
    syscalls: v.nullish(v.array(ruleSchema)),
  }),
  v.check(
    ({ architectures, archMap }) => !(architectures?.length && archMap?.length),
    'has both architectures and archMap',
  ),
);

/** Which system calls a container may make: a file as Docker, nerdctl and Podman read it (moby/profiles, `seccomp`). */
export type SeccompProfile = v.InferOutput<typeof profileSchema>;
/** What happens to calls of some names, and on which machines and for which capabilities the rule is there at all. */
export type SyscallRule = NonNullable<SeccompProfile['syscalls']>[number];

/** Reads a profile; `name` says in errors what was read. MALFORMED names the field, LIMIT_EXCEEDED above MAX_PROFILE_SIZE. */
export function parseProfile(bytes: Buffer, name: string): SeccompProfile {
  return checkShape(profileSchema, parseJsonObject(bytes, MAX_PROFILE_SIZE, name), name);
}
