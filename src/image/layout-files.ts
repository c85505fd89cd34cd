import { open, readFile, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import * as v from 'valibot';
import { errnoOf, RafterError } from '../errors.js';
import { algorithmOf, type Descriptor, type Digest, descriptorSchema, hexOf } from './descriptor.js';
import { checkShape, type JsonObject, parseJsonObject } from './json.js';
import { MAX_MANIFEST_SIZE } from './manifest.js';
import { OCI_INDEX } from './media-types.js';
import { quoted } from './printable.js';

/** Names and content that the OCI image layout specification fixes. */
export const LAYOUT_MARKER = 'oci-layout';
export const LAYOUT_INDEX = 'index.json';
const LAYOUT_VERSION = '1.0.0';
/** End of the passing name of a file that is being written. */
export const TEMPORARY_SUFFIX = '.tmp';

/** Most bytes of the `oci-layout` file. */
export const MAX_MARKER_SIZE = 4096;
/** Most entries of a layout's index.json. */
export const MAX_LAYOUT_ENTRIES = 65536;

/** The index.json of a layout: its entries, and all members as parsed. */
export interface LayoutIndex {
  manifests: Descriptor[];
  raw: JsonObject;
}

const indexSchema = v.object({
  schemaVersion: v.literal(2),
  manifests: v.nullish(v.pipe(v.array(descriptorSchema), v.maxLength(MAX_LAYOUT_ENTRIES))),
});

/** Path of a blob inside the layout at `root`. */
export function blobPath(root: string, digest: Digest): string {
  return join(root, 'blobs', algorithmOf(digest), hexOf(digest));
}

/** Reads a layout's index.json; undefined if there is none. MALFORMED or LIMIT_EXCEEDED name the file. */
export async function readLayoutIndex(root: string): Promise<LayoutIndex | undefined> {
  const path = join(root, LAYOUT_INDEX);
  const bytes = await readIfThere(path);
  return bytes && parseLayoutIndex(bytes, path);
}

/** Parses the content of an index.json; errors, which name `path`, as `readLayoutIndex`. */
export function parseLayoutIndex(bytes: Buffer, path: string): LayoutIndex {
  const raw = parseJsonObject(bytes, MAX_MANIFEST_SIZE, path);
  return { manifests: checkShape(indexSchema, raw, path).manifests ?? [], raw };
}

/** Replaces the layout's index.json in one step; `previous` gives the members to keep. */
export async function writeLayoutIndex(
  root: string,
  manifests: Descriptor[],
  previous: LayoutIndex | undefined,
): Promise<void> {
  const content = { schemaVersion: 2, mediaType: OCI_INDEX, ...previous?.raw, manifests };
  await writeDurably(join(root, LAYOUT_INDEX), Buffer.from(JSON.stringify(content)));
}

/** Writes the file that marks a directory as an OCI layout. */
export async function writeLayoutMarker(root: string): Promise<void> {
  const content = JSON.stringify({ imageLayoutVersion: LAYOUT_VERSION });
  await writeDurably(join(root, LAYOUT_MARKER), Buffer.from(content));
}

/** Checks the `oci-layout` file if there is one: UNSUPPORTED for another major version, MALFORMED if it is not JSON. */
export async function checkLayoutMarker(root: string): Promise<void> {
  const path = join(root, LAYOUT_MARKER);
  const bytes = await readIfThere(path);
  if (bytes !== undefined) checkLayoutVersion(bytes, path);
}

/** Checks the content of an `oci-layout` file; errors, which name `path`, as `checkLayoutMarker`. */
export function checkLayoutVersion(bytes: Buffer, path: string): void {
  const { imageLayoutVersion: version } = parseJsonObject(bytes, MAX_MARKER_SIZE, path);
  if (typeof version === 'string' && version.startsWith('1.')) return;
  const shown = typeof version === 'string' ? quoted(version) : 'that is no text';
  throw new RafterError('UNSUPPORTED', `${path}: layout version ${shown}, known is ${LAYOUT_VERSION}`);
}

async function readIfThere(path: string): Promise<Buffer | undefined> {
  try {
    return await readFile(path);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return undefined;
    throw error;
  }
}

/** Writes `bytes` as `path`: whole and on disk when this returns, or not at all. */
async function writeDurably(path: string, bytes: Buffer): Promise<void> {
  const temporary = `${path}.${process.pid}${TEMPORARY_SUFFIX}`;
  try {
    const handle = await open(temporary, 'w', 0o644);
    try {
      await handle.writeFile(bytes);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  await syncDirectory(dirname(path));
}

/** Puts a directory's entries on disk, so that renames into it outlast a crash. */
export async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
