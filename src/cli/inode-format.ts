import { constants } from 'node:fs';

const TYPE_LETTERS: Record<number, string> = {
  [constants.S_IFREG]: '-',
  [constants.S_IFDIR]: 'd',
  [constants.S_IFLNK]: 'l',
  [constants.S_IFCHR]: 'c',
  [constants.S_IFBLK]: 'b',
  [constants.S_IFIFO]: 'p',
  [constants.S_IFSOCK]: 's',
};

/** st_mode as ls(1) shows it: `-rwsr-xr-x`. */
export function formatMode(mode: number): string {
  const bits = [6, 3, 0].map((shift, i) => {
    const three = (mode >> shift) & 7;
    const special = (mode >> (11 - i)) & 1;
    const execute = (three & 1) !== 0;
    const letter = i === 2 ? 't' : 's';
    const last = special ? (execute ? letter : letter.toUpperCase()) : execute ? 'x' : '-';
    return `${three & 4 ? 'r' : '-'}${three & 2 ? 'w' : '-'}${last}`;
  });
  return `${TYPE_LETTERS[mode & constants.S_IFMT] ?? '?'}${bits.join('')}`;
}

/** A time in UTC, ISO 8601; seconds that no calendar date can be made of as `@SECONDS`. */
export function formatTime(
  { mtimeSec, mtimeNsec }: { mtimeSec: number; mtimeNsec: number },
  { nanoseconds = false }: { nanoseconds?: boolean } = {},
): string {
  const fraction = nanoseconds && mtimeNsec > 0 ? `.${String(mtimeNsec).padStart(9, '0')}` : '';
  const date = new Date(mtimeSec * 1000);
  if (Number.isNaN(date.getTime())) return `@${mtimeSec}${fraction}`;
  return `${date.toISOString().slice(0, -'.000Z'.length)}${fraction}Z`;
}
