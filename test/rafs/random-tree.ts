import fc from 'fast-check';
import { type Compressor, compress } from '../../src/codec/compressor.js';
import { chunkDigest, crc32c, type DigestAlgorithm } from '../../src/codec/digest.js';
import { BlobBuilder } from '../../src/rafs/blob-builder.js';
import type { BlobRef, Chunk, Inode, TreeNode } from '../../src/rafs/tree.js';

/** What a random image is made from. */
export interface TreePlan {
  chunkSize: number;
  compressor: Compressor;
  digester: DigestAlgorithm;
  items: ItemPlan[];
}

interface ItemPlan {
  /** Which of the directories made so far it goes into, and its name there; a taken name is passed over. */
  parent: number;
  name: string;
  kind: Inode['type'] | 'link';
  /** Content of files and targets; 0 for an empty file. Compressible if even. */
  size: number;
  /** Which of two blobs a file's chunks go to, and whether it may be a member of a batch. */
  blob: number;
  batch: boolean;
  mode: number;
  uid: number;
  gid: number;
  mtimeSec: number;
  mtimeNsec: number;
  major: number;
  minor: number;
  xattrs: { prefix: string; suffix: string; value: Uint8Array }[];
}

const u32 = fc.integer({ min: 0, max: 0xffffffff });

/** Names as latin1 text, so that any byte may occur; some sort before ".". */
const name = fc.oneof(
  fc.stringMatching(/^[a-d!+]{1,3}$/),
  fc.stringMatching(/^[a-z]{200,255}$/),
  fc.stringMatching(/^[\u0080-\u00ff\n\\ ]{1,20}$/),
  fc.constantFrom('.a', '...', '.!', '!', '-'),
);

const item: fc.Arbitrary<ItemPlan> = fc.record({
  parent: fc.nat(1000),
  name,
  kind: fc.constantFrom<ItemPlan['kind']>(
    'file',
    'file',
    'file',
    'dir',
    'dir',
    'symlink',
    'char',
    'block',
    'fifo',
    'socket',
    'link',
  ),
  size: fc.oneof(fc.nat(20), fc.integer({ min: 4090, max: 4100 }), fc.nat(20000)),
  blob: fc.nat(1),
  batch: fc.boolean(),
  mode: fc.nat(0o7777),
  uid: u32,
  gid: u32,
  mtimeSec: fc.oneof(fc.integer({ min: -(2 ** 40), max: 2 ** 40 }), fc.constant(0)),
  mtimeNsec: fc.nat(999_999_999),
  major: fc.nat(4095),
  minor: fc.nat(1048575),
  xattrs: fc.uniqueArray(
    fc.record({
      prefix: fc.constantFrom('user.', 'trusted.', 'security.'),
      suffix: fc.stringMatching(/^[a-z]{1,30}$/),
      value: fc.uint8Array({ maxLength: 100 }),
    }),
    { maxLength: 3, selector: ({ prefix, suffix }) => prefix + suffix },
  ),
});

export const treePlan: fc.Arbitrary<TreePlan> = fc.record({
  chunkSize: fc.constantFrom(4096, 65536),
  compressor: fc.constantFrom<Compressor>('zstd', 'lz4_block', 'none'),
  digester: fc.constantFrom<DigestAlgorithm>('blake3', 'sha256'),
  items: fc.array(item, { maxLength: 80, size: 'max' }),
});

/** An image made from a plan, and what must be found in it. */
export interface BuiltTree {
  root: TreeNode;
  blobs: BlobRef[];
  /** Whole blob files and `.blob.meta` files, by blob. */
  files: Map<BlobRef, { data: Buffer; meta: Buffer }>;
  /** Content of every regular file. */
  contents: Map<Inode, Buffer>;
}

/** Makes the tree with its blobs; two blobs at most, chunks stored alone or in batches. */
export function buildTree(plan: TreePlan): BuiltTree {
  const { chunkSize, compressor, digester } = plan;
  const writers = [0, 1].map(
    () => new BlobWriter(new BlobBuilder({ chunkSize, compressor, digester }), plan),
  );
  const root: TreeNode = { inode: directory(), children: new Map() };
  const directories = [root];
  const linkable: Inode[] = [];
  const contents = new Map<Inode, Buffer>();
  for (const one of plan.items) {
    const parent = directories[one.parent % directories.length]!;
    if (parent.children!.has(one.name)) continue;
    const inode = one.kind === 'link' ? linkable[one.size % (linkable.length || 1)] : makeInode(one);
    if (!inode) continue;
    if (inode.type === 'file' && one.kind === 'file') {
      const content = contentOf(one.size);
      contents.set(inode, content);
      writers[one.blob]!.write(content, one.batch, inode.chunks);
    }
    if (inode.type !== 'dir') linkable.push(inode);
    const node: TreeNode = { inode };
    if (inode.type === 'dir') {
      node.children = new Map();
      directories.push(node);
    }
    parent.children!.set(one.name, node);
  }
  const files = new Map<BlobRef, { data: Buffer; meta: Buffer }>();
  for (const writer of writers) {
    if (!writer.builder.isEmpty || writer.pending > 0) files.set(writer.builder.ref, writer.finish());
  }
  return { root, blobs: [...files.keys()], files, contents };
}

/** Puts files into one blob, as a converter does: batches for small files, everything else alone. */
class BlobWriter {
  readonly builder: BlobBuilder;
  readonly #plan: TreePlan;
  readonly #bytes: Buffer[] = [];
  #members: { raw: Buffer; target: Chunk[] }[] = [];

  constructor(builder: BlobBuilder, plan: TreePlan) {
    this.builder = builder;
    this.#plan = plan;
  }

  get pending(): number {
    return this.#members.length;
  }

  write(content: Buffer, batch: boolean, target: Chunk[]): void {
    if (content.length === 0) return;
    if (batch && content.length < this.#plan.chunkSize) {
      this.#members.push({ raw: content, target });
      if (this.#members.length === 3) this.#flush();
      return;
    }
    this.#flush();
    for (let at = 0; at < content.length; at += this.#plan.chunkSize) {
      const raw = content.subarray(at, at + this.#plan.chunkSize);
      const { chunk, bytes } = this.builder.addChunk({ ...this.#input(raw), ...this.#store(raw) });
      target.push(chunk);
      this.#bytes.push(bytes);
    }
  }

  finish(): { data: Buffer; meta: Buffer } {
    this.#flush();
    const { bytes, meta } = this.builder.finish();
    return { data: Buffer.concat([...this.#bytes, bytes]), meta };
  }

  #flush(): void {
    if (this.#members.length === 0) return;
    const raw = Buffer.concat(this.#members.map((member) => member.raw));
    const members = this.#members.map((member) => this.#input(member.raw));
    const { chunks, bytes } = this.builder.addBatch({ members, ...this.#store(raw) });
    for (const [i, { target }] of this.#members.entries()) target.push(chunks[i]!);
    this.#bytes.push(bytes);
    this.#members = [];
  }

  #input(raw: Buffer) {
    return { digest: chunkDigest(this.#plan.digester, raw), crc: crc32c(raw), size: raw.length };
  }

  #store(raw: Buffer): { stored: Buffer; compressed: boolean } {
    const packed = compress(this.#plan.compressor, raw);
    return packed.length < raw.length
      ? { stored: packed, compressed: true }
      : { stored: raw, compressed: false };
  }
}

function makeInode(plan: ItemPlan): Inode {
  const { uid, gid, mtimeSec, mtimeNsec } = plan;
  const xattrs = plan.xattrs.map(({ prefix, suffix, value }) => ({
    name: Buffer.from(prefix + suffix),
    value: Buffer.from(value),
  }));
  const common = { uid, gid, mtimeSec, mtimeNsec, xattrs };
  switch (plan.kind) {
    case 'file':
      return { ...common, type: 'file', mode: 0o100000 | plan.mode, size: plan.size, chunks: [] };
    case 'symlink': {
      const target = Buffer.alloc(1 + (plan.size % 4095), 'target/');
      return { ...common, type: 'symlink', mode: 0o120777, target };
    }
    case 'char':
    case 'block': {
      const mode = (plan.kind === 'char' ? 0o020000 : 0o060000) | plan.mode;
      return { ...common, type: plan.kind, mode, rdev: { major: plan.major, minor: plan.minor } };
    }
    case 'fifo':
      return { ...common, type: 'fifo', mode: 0o010000 | plan.mode };
    case 'socket':
      return { ...common, type: 'socket', mode: 0o140000 | plan.mode };
    default:
      return { ...common, type: 'dir', mode: 0o040000 | plan.mode };
  }
}

function directory(): Inode {
  return { type: 'dir', mode: 0o040755, uid: 0, gid: 0, mtimeSec: 0, mtimeNsec: 0, xattrs: [] };
}

/** `size` bytes that compress well if `size` is even and not at all otherwise. Different for different sizes. */
function contentOf(size: number): Buffer {
  const content = Buffer.alloc(size, `text of ${size} bytes. `);
  if (size % 2 === 1) {
    let state = size;
    for (let i = 0; i < size; i++) {
      state = (Math.imul(state, 1103515245) + 12345) >>> 0;
      content[i] = state >>> 16;
    }
  }
  return content;
}
