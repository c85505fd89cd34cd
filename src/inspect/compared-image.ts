import { RafterError } from '../errors.js';
import type { Bootstrap, DiskInode } from '../rafs/bootstrap.js';
import { walk } from '../rafs/walk.js';
import { type ChunkForm, type ComparedTree, comparable, firstNames } from './compare.js';
import { createContentReader } from './content.js';
import { digestsOf, NO_CONTENT } from './content-digests.js';
import type { OpenImage } from './open-image.js';

/** A converted image has its contents' digests at hand, in the form in which it was made. */
export function formOf({ bootstrap }: OpenImage): ChunkForm {
  return { chunkSize: bootstrap.chunkSize, digester: bootstrap.blobs[0]?.digester ?? 'blake3' };
}

/**
 * All names of a converted image. Contents are not read if they are wanted in the form that the image has; otherwise all
 * files are read, verified and cut anew. Throws MALFORMED for a tree that cannot be walked.
 */
export function compareNydus(image: OpenImage, form: ChunkForm, signal?: AbortSignal): ComparedTree {
  const { bootstrap } = image;
  const sameForm =
    bootstrap.chunkSize === form.chunkSize &&
    bootstrap.blobs.every(({ digester }) => digester === form.digester);
  const content = createContentReader(image, { everything: true, signal });
  function* names(): Generator<[string, number]> {
    for (const { path, inode } of walk(bootstrap)) yield [path.toString('latin1'), inode.nid];
  }
  const first = firstNames(names);
  const find = createFinder(bootstrap);
  return {
    *paths() {
      for (const [path] of names()) yield path;
    },
    has: (path) => find(path) !== undefined,
    async get(path) {
      const inode = find(path);
      if (!inode) return undefined;
      const digests =
        inode.type !== 'file'
          ? NO_CONTENT
          : sameForm
            ? listedDigests(image, inode)
            : await digestsOf(content.read(inode), inode.size, form);
      return {
        ...comparable({
          ...inode,
          target: inode.type === 'symlink' ? bootstrap.readlink(inode) : undefined,
          xattrs: bootstrap.xattrs(inode),
        }),
        link: first.get(inode.nid) ?? path,
        content: digests,
      };
    },
  };
}

/** Finds inodes by their paths; keeps the last directory, in which the next path is likely to be. */
function createFinder(bootstrap: Bootstrap): (path: string) => DiskInode | undefined {
  const root = bootstrap.inode(bootstrap.rootNid);
  let last: { path: string; directory: DiskInode } = { path: '', directory: root };
  const child = (directory: DiskInode, name: string): DiskInode | undefined => {
    const nid = bootstrap.lookup(directory, Buffer.from(name, 'latin1'));
    return nid === undefined ? undefined : bootstrap.inode(nid);
  };
  const findDirectory = (path: string): DiskInode | undefined => {
    if (path === last.path) return last.directory;
    let at: DiskInode | undefined = root;
    for (const name of path.split('/').slice(1)) {
      at = at && child(at, name);
      if (at?.type !== 'dir') return undefined;
    }
    if (at) last = { path, directory: at };
    return at;
  };
  return (path) => {
    if (path === '/') return root;
    const slash = path.lastIndexOf('/');
    const directory = findDirectory(path.slice(0, slash));
    return directory && child(directory, path.slice(slash + 1));
  };
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
