import { randomBytes } from 'node:crypto';
import { open, readdir, rename, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { ociDigest } from '../../codec/digest.js';
import { errnoOf, RafterError } from '../../errors.js';
import { below } from '../../os/below.js';
import { makeDirectories } from '../../os/make-directories.js';
import { removeTree } from '../../os/remove-tree.js';
import { syncDirectory, TEMPORARY_SUFFIX } from '../../os/whole-file.js';
import { blobDigest } from '../blob-digest.js';
import { type Descriptor, type Digest, verifyDigest } from '../descriptor.js';
import { parseManifest } from '../manifest.js';
import { REF_NAME } from '../media-types.js';
import { formatReference, type LayoutReference } from '../reference.js';
import { untaggedReferrer } from '../referrer.js';
import type { BlobWriter, CreateBlobOptions, ImageTarget, PutManifestOptions } from '../target.js';
import { withDirectoryLock } from './file-lock.js';
import {
  blobDirectories,
  blobPath,
  checkLayoutMarker,
  LAYOUT_INDEX,
  LAYOUT_MARKER,
  openBlobDirectory,
  readLayoutIndex,
  writeLayoutIndex,
  writeLayoutMarker,
} from './layout-files.js';
import { notDirectory } from './layout-reader.js';
import { createStage, isStage, type Stage } from './stage.js';
import { StagedBlob } from './staged-blob.js';

/**
 * An OCI image layout directory as target. Everything is staged as a small layout of its own, beside the layout's
 * files or, where the layout does not exist yet, in the nearest directory that does. `commit` renames: a new layout
 * appears in one step; into an existing one come first the blobs, then index.json, under the directory's lock, so that several
 * writers lose nothing. `abort` removes the stage and leaves no trace. What refers to a manifest is listed in index.json, without a tag, so
 * that it is found there.
 */
export class LayoutTarget implements ImageTarget {
  readonly name: string;
  readonly #root: string;
  readonly #tag: string | undefined;
  readonly #writers = new Set<BlobWriter>();
  #stage: Promise<Stage> | undefined;
  #named: Descriptor | undefined;
  readonly #referrers: Descriptor[] = [];
  #ended = false;

  constructor(reference: LayoutReference) {
    if (reference.digest !== undefined) {
      throw new RafterError(
        'USAGE',
        `${formatReference(reference)}: a target is named by a tag, not by a digest`,
      );
    }
    this.name = formatReference(reference);
    this.#root = resolve(reference.path);
    this.#tag = reference.tag;
  }

  async hasBlob({ digest, size }: Pick<Descriptor, 'digest' | 'size'>): Promise<boolean> {
    if ((await fileSize(blobPath(this.#root, digest))) === size) return true;
    return this.#stage !== undefined && (await fileSize(blobPath((await this.#stage).path, digest))) === size;
  }

  async createBlob(signal?: AbortSignal, options?: CreateBlobOptions): Promise<BlobWriter> {
    const { path: stage } = await this.#openStage();
    const temporary = join(stage, `blob-${randomBytes(8).toString('hex')}`);
    const handle = await open(temporary, 'wx', 0o644);
    const writer = new StagedBlob({
      handle,
      temporary,
      stage,
      signal,
      digest: blobDigest(options),
      ended: () => this.#writers.delete(writer),
    });
    this.#writers.add(writer);
    return writer;
  }

  async stagedFile(digest: Digest): Promise<string | undefined> {
    if (this.#stage === undefined) return undefined;
    const path = blobPath((await this.#stage).path, digest);
    return (await fileSize(path)) === undefined ? undefined : path;
  }

  async putManifest(bytes: Buffer, mediaType: string, options: PutManifestOptions): Promise<Descriptor> {
    const { digest = ociDigest(bytes) } = options;
    verifyDigest(bytes, digest, `${this.name}: the manifest to store`);
    const blob = await this.createBlob(options.signal, { digestGiven: true });
    try {
      await blob.write(bytes);
      const descriptor = { mediaType, ...(await blob.commit(digest)) };
      if (options.tag) this.#named = descriptor;
      else {
        const manifest = parseManifest(bytes, this.name, mediaType);
        if (manifest.subject !== undefined) this.#referrers.push(untaggedReferrer(manifest, descriptor));
      }
      return descriptor;
    } finally {
      await blob.abort();
    }
  }

  async commit(): Promise<void> {
    if (this.#ended) return;
    if (this.#named === undefined) throw new Error('commit of a layout before its manifest was put');
    const { path: stage, release } = await this.#openStage();
    const entry: Descriptor =
      this.#tag === undefined ? this.#named : { ...this.#named, annotations: { [REF_NAME]: this.#tag } };
    const entries = [entry, ...this.#referrers];
    for (const directory of await blobDirectories(stage)) await syncDirectory(join(stage, directory));
    if ((await fileSize(this.#root)) !== undefined || !(await this.#publishNew(stage, entries))) {
      await this.#merge(stage, entries);
    }
    this.#ended = true;
    release();
  }

  async abort(): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    await Promise.all([...this.#writers].map((writer) => writer.abort()));
    const stage = await this.#stage?.catch(() => undefined);
    if (stage === undefined) return;
    removeTree(stage.path);
    stage.release();
  }

  #openStage(): Promise<Stage> {
    if (this.#ended) throw new Error('a layout target was used after commit or abort');
    this.#stage ??= this.#createStage();
    return this.#stage;
  }

  async #createStage(): Promise<Stage> {
    const stage = await createStage(await this.#stageParent());
    try {
      await makeDirectories(join(stage.path, 'blobs', 'sha256'));
      return stage;
    } catch (error) {
      removeTree(stage.path);
      stage.release();
      throw error;
    }
  }

  /** The layout itself if it exists, else the nearest directory above it: the same file system, for rename. */
  async #stageParent(): Promise<string> {
    for (let path = this.#root; ; path = dirname(path)) {
      try {
        const info = await stat(path);
        if (!info.isDirectory()) throw notDirectory(path);
        if (path === this.#root) await checkWritableLayout(path);
        return path;
      } catch (error) {
        if (errnoOf(error) !== 'ENOENT') throw error;
      }
    }
  }

  /** Makes the stage the layout in one rename. False if somebody else made the layout in the meantime. */
  async #publishNew(stage: string, entries: Descriptor[]): Promise<boolean> {
    await writeLayoutIndex(stage, entries, undefined);
    await writeLayoutMarker(stage);
    const parent = dirname(this.#root);
    await makeDirectories(parent);
    try {
      await rename(stage, this.#root);
    } catch (error) {
      if (!['ENOTEMPTY', 'EEXIST', 'ENOTDIR'].includes(errnoOf(error) ?? '')) throw error;
      return false;
    }
    await syncDirectory(parent);
    return true;
  }

  async #merge(stage: string, entries: Descriptor[]): Promise<void> {
    await checkWritableLayout(this.#root);
    await withDirectoryLock(this.#root, async () => {
      for (const directory of await blobDirectories(stage)) {
        const staged = join(stage, directory);
        const blobs = await openBlobDirectory(this.#root, directory);
        try {
          for (const hex of await readdir(staged)) await rename(join(staged, hex), below(blobs.fd, hex));
          await blobs.sync();
        } finally {
          await blobs.close();
        }
      }
      if ((await fileSize(join(this.#root, LAYOUT_MARKER))) === undefined)
        await writeLayoutMarker(this.#root);
      const index = await readLayoutIndex(this.#root);
      const kept = (index?.manifests ?? []).filter(
        (other) => !entries.some((entry) => replaces(entry, other)),
      );
      await writeLayoutIndex(this.#root, [...kept, ...entries], index);
    });
    removeTree(stage);
  }
}

/** An entry goes when it has the new one's tag or, both without a tag, its digest. */
function replaces(entry: Descriptor, other: Descriptor): boolean {
  const tag = entry.annotations?.[REF_NAME];
  const otherTag = other.annotations?.[REF_NAME];
  return tag === otherTag && (tag !== undefined || other.digest === entry.digest);
}

/** Refuses a directory with other things in it: a mistyped path must not fill somebody's home with blobs. */
async function checkWritableLayout(root: string): Promise<void> {
  await checkLayoutMarker(root);
  const names = (await readdir(root)).filter((name) => !isStage(name));
  if (names.length === 0 || names.includes(LAYOUT_MARKER) || names.includes(LAYOUT_INDEX)) return;
  if (names.every((name) => name === 'blobs' || isTemporaryFile(name))) return;
  throw new RafterError(
    'USAGE',
    `${root}: neither an OCI layout nor empty (it has ${basename(names[0]!)} in it)`,
    {
      hint: 'give a directory that does not exist yet',
    },
  );
}

/**
 * True for the passing name of one of the layout's own files. Another writer's commit into an empty directory begins with
 * its blobs and these.
 */
function isTemporaryFile(name: string): boolean {
  return [LAYOUT_MARKER, LAYOUT_INDEX].some(
    (file) => name.startsWith(`${file}.`) && name.endsWith(TEMPORARY_SUFFIX),
  );
}

async function fileSize(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return undefined;
    throw error;
  }
}
