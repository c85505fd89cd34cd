import { execFileSync } from 'node:child_process';

/**
 * Changes that overlayfs treats in different ways, for the golden tree `full`: copies up, whiteouts, opaque directories, renamed
 * directories, broken hard links, capabilities that a write takes away. Every command's own failure counts, too.
 */
const SCRIPT = `
cd "$1"; rm -f links/len4095; try() { "$@" >/dev/null 2>&1 || echo "$1 $2: $?"; }
echo more >> sizes/4097
try truncate -s 10 sizes/1MiB
try truncate -s 3000000 sizes/1MiB+1
printf X | dd of=sizes/copy-of-1MiB bs=1 seek=700000 conv=notrunc status=none
try chmod 0711 modes/setuid
echo new >> modes/setgid
echo x >> xattrs/capability
try setfattr -n user.added -v 1 xattrs/user
try setfattr -x user.one xattrs/user
try setfattr -h -n trusted.more -v 2 xattrs/link
try setfattr -n security.capability -v 0x0100000200040000000000000000000000000000 last
try chown 7:8 owners/pax
try chown -h 9:9 links/short
echo via-one-name >> links/hard1
try rm links/hard2
try ln links/target links/new-name
echo both >> links/new-name
try ln links/dangling links/second-dangling
try ln -sf elsewhere links/short
rm -rf ov/opaque; mkdir -m 0750 ov/opaque; echo again > ov/opaque/only
rm -rf ov/merged; echo file > ov/merged
rm ov/dir-to-file; mkdir ov/dir-to-file; echo in > ov/dir-to-file/in
rm ov/kept; echo new > ov/kept
rm ov/replaced-file; mkfifo -m 0640 ov/replaced-file
try mv ov/hard-a ov/hard-b
try mv ov/fresh ov/renamed
mkdir ov/made; echo 1 > ov/made/f; try mv ov/made ov/made-renamed
try mv ov/made-renamed deep/d00/moved
try mv sizes/mostly-zeros last
try rmdir modes
try rmdir empty; mkdir empty; try mv -T ov/file-to-dir empty
try mknod special/new c 1 5
rm special/fifo special/null
try mv special/loop special/renamed
rm -rf names; mkdir names; echo a > 'names/!first'
rm -rf deep/d00/d01
try chmod 0700 .
find . -newermt @1700000000 -exec touch -h -d @1000000000 {} +
find . -depth -print0 | LC_ALL=C sort -z | xargs -0 stat -c '%n %F %a %u:%g %h' | sed '/directory/s/ [0-9]*$//'
`;

/** Makes the changes below `root`. Returns what the commands said, and a listing. */
export function changeTree(root: string): string {
  return execFileSync('bash', ['-c', SCRIPT, 'bash', root], {
    encoding: 'latin1',
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}
