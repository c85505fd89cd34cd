import { RafterError } from '../errors.js';
import type { Bootstrap } from '../rafs/bootstrap.js';
import { walk } from '../rafs/walk.js';

/**
 * Reads everything of a bootstrap that the kernel's EROFS would read: every directory, inode, link, xattr and chunk address.
 * The kernel is given no metadata that has not passed this: its own checks are meant for damage, ours for malice.
 * Throws MALFORMED or LIMIT_EXCEEDED, naming path or offset, and UNSUPPORTED for what only a FUSE driver can serve.
 */
export function checkForKernel(bootstrap: Bootstrap): void {
  if (bootstrap.version !== 6)
    throw new RafterError('UNSUPPORTED', `${bootstrap.name}: RAFS v${bootstrap.version} is not EROFS`);
  if (bootstrap.blockSize !== 4096)
    throw new RafterError('UNSUPPORTED', `${bootstrap.name}: blocks of ${bootstrap.blockSize} bytes`);
  const { chunkSize } = bootstrap;
  for (const { inode } of walk(bootstrap)) {
    if (inode.hasXattrs) bootstrap.xattrs(inode);
    if (inode.type === 'symlink') bootstrap.readlink(inode);
    if (inode.type !== 'file') continue;
    const chunks = Math.ceil(inode.size / chunkSize);
    for (let k = 0; k < chunks; k++) bootstrap.chunkAt(inode, k);
  }
}
