import { createHash } from 'node:crypto';
import type { Readable } from 'node:stream';
import { decompressLayer } from '../codec/decompress-stream.js';
import { checkLayerType } from '../convert/layer-types.js';
import { collectLosses } from '../convert/losses.js';
import { emptyTree, LayerOverlay } from '../convert/overlay.js';
import { readTar } from '../convert/tar-reader.js';
import { RafterError } from '../errors.js';
import { askingOthers, useBlobOnce } from '../image/asking-others.js';
import { type ImageConfig, MAX_CONFIG_SIZE, parseImageConfig } from '../image/config.js';
import { algorithmOf, type Descriptor, type Digest } from '../image/descriptor.js';
import type { Manifest } from '../image/manifest.js';
import { type ImageSource, readSmallBlob } from '../image/source.js';
import type { FileInode, TreeNode } from '../rafs/tree.js';
import { type ChunkForm, type ComparedTree, comparable, firstNames } from './compare.js';
import { ContentDigests, digestsOf, NO_CONTENT } from './content-digests.js';

/**
 * All names of an ordinary image, from its layers as convert understands them. All layers are read and verified. Throws UNSUPPORTED
 * for layers that are no file systems, and what source, decompression and tar throw.
 */
export function compareLayers(
  source: ImageSource,
  manifest: Manifest,
  options: { form: ChunkForm; signal?: AbortSignal | undefined },
): Promise<ComparedTree> {
  // Wrong bytes of a layer are in the tree by the time they show.
  return askingOthers(() => readLayers(source, manifest, options));
}

async function readLayers(
  source: ImageSource,
  manifest: Manifest,
  { form, signal }: { form: ChunkForm; signal?: AbortSignal | undefined },
): Promise<ComparedTree> {
  const config = parseImageConfig(
    await readSmallBlob(source, manifest.config, { limit: MAX_CONFIG_SIZE, signal }),
    `${source.name}: configuration`,
  );
  const root = emptyTree();
  const contents = new ContentDigests(form.chunkSize);
  for (const [i, descriptor] of manifest.layers.entries()) {
    const name = `${source.name}: layer ${i + 1} (${descriptor.digest})`;
    checkLayerType(descriptor, name);
    await applyLayer(
      { source, descriptor, name, diffId: diffIdOf(config, i, name), signal },
      root,
      (file, body) => digestsOf(body, file.size, form).then((digests) => contents.add(file, digests)),
    );
  }
  return treeOf(root, contents);
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
  const hash = createHash(algorithmOf(diffId));
  const use = async (compressed: Readable) => {
    const { tar } = await decompressLayer(compressed, name);
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
    }
  };
  await useBlobOnce(source, descriptor, { signal, use });
  overlay.finish();
  const actual = `${algorithmOf(diffId)}:${hash.digest('hex')}`;
  if (actual !== diffId)
    throw new RafterError('DIGEST_MISMATCH', `${name}: its tar has digest ${actual}, expected ${diffId}`);
}

function treeOf(root: TreeNode, contents: ContentDigests): ComparedTree {
  const first = firstNames(function* () {
    for (const [path, { inode }] of namesBelow(root)) yield [path, inode];
  });
  const find = (path: string): TreeNode | undefined =>
    path === '/'
      ? root
      : path
          .split('/')
          .slice(1)
          .reduce<TreeNode | undefined>((node, name) => node?.children?.get(name), root);
  return {
    *paths() {
      for (const [path] of namesBelow(root)) yield path;
    },
    has: (path) => find(path) !== undefined,
    async get(path) {
      const inode = find(path)?.inode;
      if (!inode) return undefined;
      return {
        ...comparable({
          ...inode,
          size: inode.type === 'file' ? inode.size : 0,
          rdev: inode.type === 'char' || inode.type === 'block' ? inode.rdev : undefined,
          target: inode.type === 'symlink' ? inode.target : undefined,
        }),
        link: first.get(inode) ?? path,
        content: inode.type === 'file' ? contents.of(inode) : NO_CONTENT,
      };
    },
  };
}

/** A directory's names one behind the other, then those of its subdirectories. */
function* namesBelow(root: TreeNode): Generator<[path: string, node: TreeNode]> {
  yield ['/', root];
  const pending: [string, TreeNode][] = [['', root]];
  for (let next = pending.pop(); next; next = pending.pop()) {
    const [parent, directory] = next;
    for (const [name, node] of directory.children ?? []) {
      const path = `${parent}/${name}`;
      yield [path, node];
      if (node.children) pending.push([path, node]);
    }
  }
}
