import { readdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import * as v from 'valibot';
import { errnoOf } from '../../errors.js';
import { TEMPORARY_SUFFIX } from '../../os/whole-file.js';
import type { ImageStore, ImageUse } from './image-store.js';

/** Temporary files of a process that died: older than this, in milliseconds. */
const LEFTOVER_AGE = 60 * 60_000;

const useSchema = v.object({
  reference: v.string(),
  top: v.string(),
  manifest: v.string(),
  contents: v.array(v.string()),
  maps: v.array(v.string()),
  blobs: v.array(v.string()),
});
const referenceSchema = v.object({ reference: v.string(), descriptor: v.object({ digest: v.string() }) });

/** An image that the store knows. */
export interface KnownImage extends ImageUse {
  /** The reference means something else by now. */
  stale: boolean;
  /** When it was mounted first, in milliseconds since 1970. */
  since: number;
}

/** What pruning the store removed. */
export interface PrunedImages {
  /** References of images that are not known any more. */
  images: string[];
  /** Files removed: manifests, bootstraps, maps and what interrupted work left. */
  files: number;
  /** Bytes of those files. */
  bytes: number;
}

/** The images that the store in `dir` knows. */
export async function listImages(dir: string): Promise<KnownImage[]> {
  const meanings = new Map<string, string>();
  for (const { content } of await readRecords(join(dir, 'refs'), referenceSchema))
    meanings.set(content.reference, content.descriptor.digest);
  const uses = await readRecords(join(dir, 'uses'), useSchema);
  return uses.map(({ content, since }) => ({
    ...content,
    since,
    stale: meanings.get(content.reference) !== content.top,
  }));
}

/**
 * Removes what no image in `keep` needs, and what died processes left, from the store in `dir` and from `tempDir`. Undefined,
 * and only the leftovers are removed, if an image is just being opened.
 */
export async function pruneImages(
  { dir, tempDir, store }: { dir: string; tempDir: string; store: ImageStore },
  keep: readonly KnownImage[],
): Promise<PrunedImages | undefined> {
  const pruned: PrunedImages = { images: [], files: 0, bytes: 0 };
  const isOld = (changedAt: number) => Date.now() - changedAt > LEFTOVER_AGE;
  await removeFiles(tempDir, pruned, ({ changedAt }) => isOld(changedAt));
  const known = await listImages(dir);
  const kept = new Set(keep.map(({ reference, manifest }) => `${reference} ${manifest}`));
  const gone = known.filter(({ reference, manifest }) => !kept.has(`${reference} ${manifest}`));
  const hexes = new Set(keep.flatMap(({ contents }) => contents.map((digest) => digest.replace(/^.*:/, ''))));
  const maps = new Set(keep.flatMap((image) => image.maps));
  const references = new Set(keep.map(({ reference }) => reference));
  // What a mount that is just being made has looked up is not recorded yet.
  if (store.isOpening) return undefined;
  pruned.images = [...new Set(gone.map(({ reference }) => reference))];
  const isTemporary = (name: string) => name.endsWith(TEMPORARY_SUFFIX);
  const isNeeded = (names: Set<string>) => (file: StoredFile) =>
    isTemporary(file.name) ? isOld(file.changedAt) : !names.has(file.name);
  await removeFiles(join(dir, 'blobs/sha256'), pruned, isNeeded(hexes));
  await removeFiles(join(dir, 'blobs/sha512'), pruned, isNeeded(hexes));
  await removeFiles(join(dir, 'maps'), pruned, isNeeded(maps));
  for (const { content, name } of await readRecords(join(dir, 'uses'), useSchema))
    if (!kept.has(`${content.reference} ${content.manifest}`))
      await rm(join(dir, 'uses', name), { force: true });
  for (const { content, name } of await readRecords(join(dir, 'refs'), referenceSchema))
    if (!references.has(content.reference)) await rm(join(dir, 'refs', name), { force: true });
  return pruned;
}

interface StoredFile {
  name: string;
  /** Milliseconds since 1970. */
  changedAt: number;
}

/** Removes the regular files of `dir` that `isMeant`; a directory that is not there has none. */
async function removeFiles(
  dir: string,
  pruned: PrunedImages,
  isMeant: (file: StoredFile) => boolean,
): Promise<void> {
  for (const name of await namesIn(dir)) {
    const path = join(dir, name);
    const found = await stat(path).catch(() => undefined);
    if (!found?.isFile() || !isMeant({ name, changedAt: found.mtimeMs })) continue;
    await rm(path, { force: true });
    pruned.files++;
    pruned.bytes += found.size;
  }
}

/** The JSON files in `dir` that are what `schema` says; others count for nothing. */
async function readRecords<S extends v.GenericSchema>(
  dir: string,
  schema: S,
): Promise<{ name: string; since: number; content: v.InferOutput<S> }[]> {
  const records: { name: string; since: number; content: v.InferOutput<S> }[] = [];
  for (const name of await namesIn(dir)) {
    if (!name.endsWith('.json')) continue;
    const path = join(dir, name);
    const [text, found] = await Promise.all([
      readFile(path, 'utf8').catch(() => ''),
      stat(path).catch(() => undefined),
    ]);
    const parsed = v.safeParse(schema, parseJson(text));
    if (parsed.success && found) records.push({ name, since: found.mtimeMs, content: parsed.output });
  }
  return records;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

async function namesIn(dir: string): Promise<string[]> {
  try {
    return await readdir(dir);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  }
}
