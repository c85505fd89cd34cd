import { RafterError } from '../errors.js';
import type { ContentReader } from '../inspect/content.js';
import type { Bootstrap, DiskInode } from '../rafs/bootstrap.js';
import { walk } from '../rafs/walk.js';
import { encodeTarItem, paddingOf, TAR_END } from './tar-writer.js';

/** Start of the names with which layers say that something is gone (OCI image spec, "Whiteouts"). */
const WHITEOUT = Buffer.from('.wh.');
const SLASH = 0x2f;

export interface TreeTarOptions {
  /** The image, for messages. */
  name: string;
  /** Told of what was left out. */
  onWarning(message: string): void;
  /** Told of each entry and of the bytes of content so far. */
  onEntry?(contentBytes: number): void;
}

/**
 * The whole tree of an image as one tar: directories before what is in them, the second and later names of an inode as hard
 * links. Left out with a warning: sockets, for which tar has no type, and files that a layer would take for whiteouts, which
 * the Nydus builder leaves behind where there was nothing to remove. UNSUPPORTED for directories with such a name; and what
 * `content` and `walk` throw. The same tree gives the same bytes.
 */
export async function* tarOfTree(
  bootstrap: Bootstrap,
  content: ContentReader,
  { name, onWarning, onEntry }: TreeTarOptions,
): AsyncGenerator<Buffer> {
  const firstNames = new Map<number, Buffer>();
  let contentBytes = 0;
  for (const { path: absolute, inode } of walk(bootstrap)) {
    const path = absolute.subarray(1);
    const what = `${name}: ${JSON.stringify(absolute.toString())}`;
    const { type } = inode;
    if (isWhiteout(path)) {
      if (type === 'dir')
        throw new RafterError('UNSUPPORTED', `${what}: in a layer this name would be a whiteout`);
      onWarning(`${what}: in a layer this name would be a whiteout; it was left out`);
      continue;
    }
    if (type === 'socket') {
      onWarning(`${what}: a socket, which a tar cannot hold, was left out`);
      continue;
    }
    const first = firstNames.get(inode.nid);
    if (first !== undefined) {
      yield encodeTarItem(
        { ...attributesOf(inode), path, type: 'hardlink', link: first, size: 0, xattrs: [] },
        what,
      );
      continue;
    }
    if (type !== 'dir' && inode.nlink > 1) firstNames.set(inode.nid, path);
    yield encodeTarItem(
      {
        ...attributesOf(inode),
        path,
        type,
        size: type === 'file' ? inode.size : 0,
        link: type === 'symlink' ? bootstrap.readlink(inode) : undefined,
        rdev: inode.rdev,
        xattrs: bootstrap.xattrs(inode),
      },
      what,
    );
    if (type === 'file') {
      for await (const bytes of content.read(inode)) {
        contentBytes += bytes.length;
        yield bytes;
      }
      yield paddingOf(inode.size);
    }
    onEntry?.(contentBytes);
  }
  yield TAR_END;
}

function attributesOf({ mode, uid, gid, mtimeSec, mtimeNsec }: DiskInode) {
  return { mode, uid, gid, mtimeSec, mtimeNsec };
}

function isWhiteout(path: Buffer): boolean {
  const base = path.subarray(path.lastIndexOf(SLASH) + 1);
  return base.subarray(0, WHITEOUT.length).equals(WHITEOUT);
}
