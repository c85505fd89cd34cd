/** Permissions of a POSIX ACL, as `rwx` bits: 4 to read, 2 to write, 1 to execute. */
export interface AclRights {
  owner?: number;
  /** Of `id`. */
  user: number;
  id: number;
  group?: number;
  mask: number;
  other: number;
}

/** An ACL in the format of its xattr (linux/posix_acl_xattr.h): version 2, then tag, permissions and id of each entry. */
export function aclBytes({ owner = 6, user, id, group = 0, mask, other }: AclRights): Buffer {
  const [USER_OBJ, USER, GROUP_OBJ, MASK, OTHER, NO_ID] = [1, 2, 4, 0x10, 0x20, 0xffffffff] as const;
  const entries: [number, number, number][] = [
    [USER_OBJ, owner, NO_ID],
    [USER, user, id],
    [GROUP_OBJ, group, NO_ID],
    [MASK, mask, NO_ID],
    [OTHER, other, NO_ID],
  ];
  const bytes = Buffer.alloc(4 + entries.length * 8);
  bytes.writeUInt32LE(2);
  for (const [i, [tag, permissions, each]] of entries.entries()) {
    bytes.writeUInt16LE(tag, 4 + i * 8);
    bytes.writeUInt16LE(permissions, 6 + i * 8);
    bytes.writeUInt32LE(each, 8 + i * 8);
  }
  return bytes;
}
