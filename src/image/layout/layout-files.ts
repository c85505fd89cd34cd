import { constants } from 'node:fs';
import { type FileHandle, mkdir, open, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as v from 'valibot';
import { errnoOf, RafterError } from '../../errors.js';
import { below } from '../../os/below.js';
import { writeWholeFile } from '../../os/whole-file.js';
import { algorithmOf, type Descriptor, type Digest, descriptorSchema, hexOf } from '../descriptor.js';
import { checkShape, type JsonObject, parseJsonObject } from '../json.js';
import { MAX_MANIFEST_SIZE } from '../manifest.js';
import { OCI_INDEX } from '../media-types.js';
import { quoted } from '../printable.js';

/** Names and content that the OCI image layout specification fixes. */
export const LAYOUT_MARKER = 'oci-layout';
export const LAYOUT_INDEX = 'index.json';
const LAYOUT_VERSION = '1.0.0';

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

/** The directories with the blobs of the layout at `root`, one per algorithm, below it and in order: `blobs/sha256`. */
export async function blobDirectories(root: string): Promise<string[]> {
  return (await readdir(join(root, 'blobs'))).sort().map((algorithm) => join('blobs', algorithm));
}

/**
 * Opens the directory `path` (of `blobDirectories`) of the layout at `root` to put blobs there; made if it is missing. DENIED if a
 * part of it is a symlink: whoever made the layout would choose where on this machine files are written.
 */
export async function openBlobDirectory(root: string, path: string): Promise<FileHandle> {
  const { O_RDONLY, O_DIRECTORY, O_NOFOLLOW } = constants;
  let directory = await open(root, O_RDONLY | O_DIRECTORY);
  for (const name of path.split('/')) {
    const place = below(directory.fd, name);
    try {
      await mkdir(place).catch(ignoreExisting);
      const inner = await open(place, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
      await directory.close();
      directory = inner;
    } catch (error) {
      await directory.close();
      if (errnoOf(error) !== 'ENOTDIR' && errnoOf(error) !== 'ELOOP') throw error;
      throw new RafterError('DENIED', `${join(root, path)}: ${name} is not a directory of the layout`, {
        cause: error,
        hint: 'blobs are not written through symlinks: name another layout',
      });
    }
  }
  return directory;
}

function ignoreExisting(error: unknown): void {
  if (errnoOf(error) !== 'EEXIST') throw error;
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
  await writeWholeFile(join(root, LAYOUT_INDEX), JSON.stringify(content), { mode: 0o644, durable: true });
}

/** Writes the file that marks a directory as an OCI layout. */
export async function writeLayoutMarker(root: string): Promise<void> {
  const content = JSON.stringify({ imageLayoutVersion: LAYOUT_VERSION });
  await writeWholeFile(join(root, LAYOUT_MARKER), content, { mode: 0o644, durable: true });
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
