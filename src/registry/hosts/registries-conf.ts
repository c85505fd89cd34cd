import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import * as v from 'valibot';
import { errnoOf, RafterError } from '../../errors.js';
import { systemReason } from '../../os/system-error.js';
import { readToml } from './config-file.js';
import type { HostPlaces } from './places.js';

/** Most `*.conf` files of one drop-in directory, and most registries of all files together. */
export const MAX_DROP_INS = 256;
export const MAX_REGISTRIES = 4096;

const mirrorSchema = v.object({
  location: v.string(),
  insecure: v.optional(v.boolean(), false),
  'pull-from-mirror': v.optional(v.picklist(['all', 'digest-only', 'tag-only']), 'all'),
});
const registrySchema = v.object({
  prefix: v.optional(v.string()),
  location: v.optional(v.string()),
  insecure: v.optional(v.boolean(), false),
  blocked: v.optional(v.boolean(), false),
  'mirror-by-digest-only': v.optional(v.boolean(), false),
  mirror: v.optional(v.array(mirrorSchema), []),
});
const listSchema = v.optional(v.object({ registries: v.optional(v.array(v.string()), []) }));
const fileSchema = v.object({
  registry: v.optional(v.array(registrySchema), []),
  /** The first version of the format. */
  registries: v.optional(v.object({ insecure: listSchema, block: listSchema })),
});

/** What registries.conf says about one repository: `host/path` to ask instead, in order. */
export interface RegistryRule {
  /** The file that says it. */
  path: string;
  blocked: boolean;
  /** The registry itself. */
  location: { name: string; insecure: boolean };
  mirrors: { name: string; insecure: boolean; reads: { byTag: boolean; byDigest: boolean } }[];
}

type Places = Pick<HostPlaces, 'registriesConf' | 'registriesConfDirs'>;
type Entry = v.InferOutput<typeof registrySchema> & { path: string };

/**
 * The rule of containers-registries.conf(5), both versions, for the repository that users call `name`
 * (`docker.io/library/python`): that of the longest prefix. A drop-in file's rule replaces an earlier one for the same prefix.
 */
export async function findRegistryRule(places: Places, name: string): Promise<RegistryRule | undefined> {
  const byPrefix = new Map<string, Entry>();
  for (const path of await filesOf(places)) {
    for (const entry of await readEntries(path)) byPrefix.set(entry.prefix ?? entry.location ?? '', entry);
  }
  if (byPrefix.size > MAX_REGISTRIES) {
    throw new RafterError('LIMIT_EXCEEDED', `registries.conf: more than ${MAX_REGISTRIES} registries`);
  }
  let best: { entry: Entry; matched: number } | undefined;
  for (const [prefix, entry] of byPrefix) {
    const matched = matchedLength(name, prefix);
    // Of a name and a wildcard that both match, the longer text is the more exact one.
    if (
      matched > 0 &&
      (best === undefined || prefix.length > (best.entry.prefix ?? best.entry.location ?? '').length)
    )
      best = { entry, matched };
  }
  return best === undefined ? undefined : ruleOf(best.entry, name, best.matched);
}

function ruleOf(entry: Entry, name: string, matched: number): RegistryRule {
  const at = (location: string) => `${location.replace(/\/+$/, '')}${name.slice(matched)}`;
  return {
    path: entry.path,
    blocked: entry.blocked,
    location: { name: entry.location ? at(entry.location) : name, insecure: entry.insecure },
    mirrors: entry.mirror.map(({ location, insecure, 'pull-from-mirror': pull }) => ({
      name: at(location),
      insecure,
      reads: {
        byTag: pull !== 'digest-only' && !entry['mirror-by-digest-only'],
        byDigest: pull !== 'tag-only',
      },
    })),
  };
}

/** Characters of `name` that `prefix` stands for; 0 if it is another registry, or another name that begins alike. */
function matchedLength(name: string, prefix: string): number {
  if (prefix.startsWith('*.')) {
    const host = name.split('/')[0]!;
    return host.endsWith(prefix.slice(1)) && host.length > prefix.length - 1 ? host.length : 0;
  }
  if (prefix === '' || !name.startsWith(prefix)) return 0;
  return name.length === prefix.length || name[prefix.length] === '/' ? prefix.length : 0;
}

async function readEntries(path: string): Promise<Entry[]> {
  const file = await readToml(path, fileSchema);
  if (file === undefined) return [];
  const old = (kind: 'insecure' | 'block') => file.registries?.[kind]?.registries ?? [];
  const names = new Set([...old('insecure'), ...old('block')]);
  const entries = [
    ...file.registry,
    ...[...names].map((location) =>
      v.parse(registrySchema, {
        location,
        insecure: old('insecure').includes(location),
        blocked: old('block').includes(location),
      }),
    ),
  ];
  const nameless = entries.findIndex(({ prefix, location }) => !prefix && !location);
  if (nameless >= 0) {
    throw new RafterError(
      'MALFORMED',
      `${path}: registry number ${nameless + 1} has neither prefix nor location`,
    );
  }
  return entries.map((entry) => ({ ...entry, path }));
}

async function filesOf({ registriesConf, registriesConfDirs }: Places): Promise<string[]> {
  const main: string[] = [];
  for (const path of registriesConf) {
    if ((await readToml(path, v.unknown())) === undefined) continue;
    main.push(path);
    break;
  }
  const dropIns = await Promise.all(registriesConfDirs.map(confFiles));
  return [...main, ...dropIns.flat()];
}

async function confFiles(directory: string): Promise<string[]> {
  let names: string[];
  try {
    names = await readdir(directory);
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(errnoOf(error) ?? '')) return [];
    const code = errnoOf(error) === 'EACCES' ? 'DENIED' : 'FAILED';
    throw new RafterError(code, `${directory}: ${systemReason(error)}`, { cause: error });
  }
  const found = names.filter((name) => name.endsWith('.conf')).sort();
  if (found.length > MAX_DROP_INS) {
    throw new RafterError('LIMIT_EXCEEDED', `${directory}: more than ${MAX_DROP_INS} files`);
  }
  return found.map((name) => join(directory, name));
}
