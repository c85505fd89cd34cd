import { goldenTree } from '../rafs/golden.js';
import type { Tree } from '../support/tree.js';

/** A golden tree in the form in which `readTree` reads one from a mount. */
export function expectedTree(name: string): Tree {
  return new Map(
    goldenTree(name).map((row) => {
      const bytes = (text?: string, base64?: string) =>
        Buffer.from(text ?? base64 ?? '', text === undefined ? 'base64' : 'utf8');
      const xattrs = Object.entries(row.xattrs ?? {}).sort(([a], [b]) => (a < b ? -1 : 1));
      return [
        bytes(row.path, row.path64).toString('latin1'),
        {
          type: row.type,
          mode: (Number.parseInt(row.mode, 8) & 0o7777).toString(8).padStart(4, '0'),
          owner: `${row.uid}:${row.gid}`,
          nlink: row.type === 'dir' ? '' : String(row.nlink),
          mtime: String(BigInt(row.mtime) * 10n ** 9n + BigInt(row.mtimeNsec)),
          size: row.size === undefined ? '' : String(row.size),
          rdev: row.rdev === undefined ? '' : String(deviceNumber(row.rdev)),
          target: bytes(row.target, row.target64).toString('latin1'),
          xattrs: xattrs.map(([key, value]) => `${key}=${value}`).join(' '),
          sha256: row.sha256 ?? '',
        },
      ];
    }),
  );
}

/** dev_t as stat(2) shows it. */
function deviceNumber([major, minor]: [number, number]): number {
  return major * 256 + (minor & 0xff) + (minor - (minor & 0xff)) * 4096;
}
