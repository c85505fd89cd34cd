/** Seconds that the kernel may keep attributes and names, found or not: the tree never changes. */
const KEEP_SECONDS = 24 * 3600;

/**
 * The `-o` option list for libfuse. Holds only constants: no text of a user ever gets in here, where a comma would
 * make it another option.
 *
 * As root the mount is the root file system of containers: every user may look at it with the permissions that the
 * image says, set-user-id programs and devices work. Others get what the kernel allows them: their own access only.
 */
export function libfuseOptions({ root }: { root: boolean }): string {
  const options = [
    'ro',
    'fsname=rafter',
    'subtype=rafter',
    'kernel_cache',
    `attr_timeout=${KEEP_SECONDS}`,
    `entry_timeout=${KEEP_SECONDS}`,
    `negative_timeout=${KEEP_SECONDS}`,
    'use_ino',
  ];
  if (root) options.push('allow_other', 'default_permissions', 'suid', 'dev');
  return `-o${options.join(',')}`;
}

/** File system type that /proc/mounts shows for a mount with these options. */
export const FUSE_TYPE = 'fuse.rafter';
