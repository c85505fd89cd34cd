import { createHash } from 'node:crypto';
import { decompressLayer } from '../codec/decompress-stream.js';
import { chunkDigest } from '../codec/digest.js';
import { ChunkBuffers } from '../convert/chunk-buffers.js';
import { cutChunks } from '../convert/chunker.js';
import { checkLayerType } from '../convert/layer-types.js';
import { collectLosses } from '../convert/losses.js';
import { emptyTree, LayerOverlay } from '../convert/overlay.js';
import { readTar } from '../convert/tar-reader.js';
import { RafterError } from '../errors.js';
import { type ImageConfig, MAX_CONFIG_SIZE, parseImageConfig } from '../image/config.js';
import { algorithmOf, type Descriptor, type Digest } from '../image/descriptor.js';
import type { Manifest } from '../image/manifest.js';
import { type ImageSource, readSmallBlob } from '../image/source.js';
import type { DiskInode } from '../rafs/bootstrap.js';
import type { FileInode, Inode, TreeNode } from '../rafs/tree.js';
import { walk } from '../rafs/walk.js';
import { type ChunkForm, type ComparedTree, comparable, joinLinks } from './compare.js';
import { createContentReader } from './content.js';
import type { OpenImage } from './open-image.js';

const NO_CONTENT = Buffer.alloc(0);

/** A converted image has its contents' digests at hand, in the form in which it was made. */
export function formOf({ bootstrap }: OpenImage): ChunkForm {
  return { chunkSize: bootstrap.chunkSize, digester: bootstrap.blobs[0]?.digester ?? 'blake3' };
}

/**
 * All names of a converted image. Contents are not read if they are wanted in the form that the image has; otherwise all
 * files are read, verified and cut anew.
 */
export async function compareNydus(
  image: OpenImage,
  form: ChunkForm,
  signal?: AbortSignal,
): Promise<ComparedTree> {
  const { bootstrap } = image;
  const sameForm =
    bootstrap.chunkSize === form.chunkSize &&
    bootstrap.blobs.every(({ digester }) => digester === form.digester);
  const content = createContentReader(image, { everything: true, signal });
  const tree: ComparedTree = new Map();
  const names = new Map<number, string[]>();
  for (const { path, inode } of walk(bootstrap)) {
    const key = path.toString('latin1');
    const linked = names.get(inode.nid);
    if (linked) {
      tree.set(key, { ...tree.get(linked[0]!)!, link: key });
      linked.push(key);
      continue;
    }
    names.set(inode.nid, [key]);
    const digests =
      inode.type !== 'file'
        ? NO_CONTENT
        : sameForm
          ? listedDigests(image, inode)
          : await digestsOf(content.read(inode), inode.size, form);
    tree.set(key, {
      ...comparable({
        ...inode,
        target: inode.type === 'symlink' ? bootstrap.readlink(inode) : undefined,
        xattrs: bootstrap.xattrs(inode),
      }),
      link: key,
      content: digests,
    });
  }
  joinLinks(tree, names.values());
  return tree;
}

function listedDigests({ bootstrap }: OpenImage, inode: DiskInode): Buffer {
  const digests: Buffer[] = [];
  for (let k = 0; k < inode.chunkCount; k++) {
    const { blobIndex, chunkIndex } = bootstrap.chunkAt(inode, k);
    const digest = bootstrap.chunkDigest(blobIndex, chunkIndex);
    if (!digest)
      throw new RafterError(
        'MALFORMED',
        `${bootstrap.name}: the chunk table lacks chunk ${chunkIndex} of blob ${bootstrap.blobs[blobIndex]!.id}`,
      );
    digests.push(digest);
  }
  return Buffer.concat(digests);
}

/**
 * All names of an ordinary image, from its layers as convert understands them. All layers are read and verified. Throws UNSUPPORTED
 * for layers that are no file systems, and what source, decompression and tar throw.
 */
export async function compareLayers(
  source: ImageSource,
  manifest: Manifest,
  { form, signal }: { form: ChunkForm; signal?: AbortSignal | undefined },
): Promise<ComparedTree> {
  const config = parseImageConfig(
    await readSmallBlob(source, manifest.config, { limit: MAX_CONFIG_SIZE, signal }),
    `${source.name}: configuration`,
  );
  const root = emptyTree();
  const contents = new Map<FileInode, Buffer>();
  for (const [i, descriptor] of manifest.layers.entries()) {
    const name = `${source.name}: layer ${i + 1} (${descriptor.digest})`;
    checkLayerType(descriptor, name);
    await applyLayer(
      { source, descriptor, name, diffId: diffIdOf(config, i, name), signal },
      root,
      (file, body) => digestsOf(body, file.size, form).then((digests) => void contents.set(file, digests)),
    );
  }
  return flatten(root, contents);
}

function diffIdOf({ diffIds }: ImageConfig, i: number, name: string): Digest {
  const found = diffIds[i];
  if (found === undefined)
    throw new RafterError('MALFORMED', `${name}: the configuration has no diff id for it`);
  return found;
}

async function applyLayer(
  layer: {
    source: ImageSource;
    descriptor: Descriptor;
    name: string;
    diffId: Digest;
    signal: AbortSignal | undefined;
  },
  root: TreeNode,
  onFile: (file: FileInode, body: AsyncIterable<Buffer>) => Promise<void>,
): Promise<void> {
  const { source, descriptor, name, diffId, signal } = layer;
  const overlay = new LayerOverlay(root, { layer: name, losses: collectLosses(true) });
  const compressed = await source.openBlob(descriptor, signal);
  const { tar } = await decompressLayer(compressed, name);
  const hash = createHash(algorithmOf(diffId));
  async function* hashed(): AsyncGenerator<Buffer> {
    for await (const piece of tar as AsyncIterable<Buffer>) {
      hash.update(piece);
      yield piece;
    }
  }
  try {
    for await (const entry of readTar(hashed(), name)) {
      const file = overlay.apply(entry);
      if (file) await onFile(file, entry.body);
    }
  } finally {
    tar.destroy();
    compressed.destroy();
  }
  overlay.finish();
  const actual = `${algorithmOf(diffId)}:${hash.digest('hex')}`;
  if (actual !== diffId)
    throw new RafterError('DIGEST_MISMATCH', `${name}: its tar has digest ${actual}, expected ${diffId}`);
}

async function digestsOf(
  body: AsyncIterable<Buffer>,
  size: number,
  { chunkSize, digester }: ChunkForm,
): Promise<Buffer> {
  const buffers = new ChunkBuffers(chunkSize);
  const digests: Buffer[] = [];
  for await (const piece of cutChunks(body, size, { chunkSize, buffers })) {
    digests.push(chunkDigest(digester, piece));
    buffers.give(piece);
  }
  return Buffer.concat(digests);
}

function flatten(root: TreeNode, contents: Map<FileInode, Buffer>): ComparedTree {
  const tree: ComparedTree = new Map();
  const names = new Map<Inode, string[]>();
  const pending: { path: string; node: TreeNode }[] = [{ path: '', node: root }];
  for (let next = pending.pop(); next; next = pending.pop()) {
    const { path, node } = next;
    const { inode } = node;
    const key = path || '/';
    const linked = names.get(inode);
    if (linked) linked.push(key);
    else names.set(inode, [key]);
    tree.set(key, {
      ...comparable({
        ...inode,
        size: inode.type === 'file' ? inode.size : 0,
        rdev: inode.type === 'char' || inode.type === 'block' ? inode.rdev : undefined,
        target: inode.type === 'symlink' ? inode.target : undefined,
      }),
      link: key,
      content: inode.type === 'file' ? (contents.get(inode) ?? NO_CONTENT) : NO_CONTENT,
    });
    for (const [name, child] of node.children ?? []) pending.push({ path: `${path}/${name}`, node: child });
  }
  joinLinks(tree, names.values());
  return tree;
}
