import { describe, expect, it } from 'vitest';
import { isRafterError } from '../../src/errors.js';
import { inPieces, READERS, type Reader, readAll } from './read-all.js';
import { fixChecksum, makeTar, padded, paxRecord, type TarItem, tarEntry } from './tar-writer.js';

const read = async (...items: TarItem[]) => (await readAll(makeTar(items)))[0]!;

/** The code and message of what reading `tar` throws. */
async function failure(tar: Buffer, pieceSize?: number): Promise<string> {
  const error = await readAll(tar, pieceSize).then(
    () => undefined,
    (e: unknown) => e,
  );
  if (!isRafterError(error)) throw error ?? new Error('it did not fail');
  return `${error.code} ${error.message}`;
}

describe('what an entry says', () => {
  it('reads every type', async () => {
    const entries = await readAll(
      makeTar([
        { name: 'f', data: 'file' },
        { name: 'v7', type: '\0', data: 'old' },
        { name: 'v7dir/', type: '\0' },
        { name: 'contiguous', type: '7', data: 'c' },
        { name: 'd/', type: '5' },
        { name: 's', type: '2', link: 'to' },
        { name: 'h', type: '1', link: 'f' },
        { name: 'c', type: '3', dev: [300, 70000] },
        { name: 'b', type: '4', dev: [4095, 1048575] },
        { name: 'p', type: '6' },
        { name: 'label', type: 'V' },
      ]),
    );
    expect(entries.map(({ name, type, content }) => `${name} ${type} ${content}`)).toEqual([
      'f file file',
      'v7 file old',
      'v7dir/ dir ',
      'contiguous file c',
      'd/ dir ',
      's symlink ',
      'h hardlink ',
      'c char ',
      'b block ',
      'p fifo ',
    ]);
    expect(entries[5]!.linkTarget.toString()).toBe('to');
    expect(entries[7]!.rdev).toEqual({ major: 300, minor: 70000 });
    expect(entries[8]!.rdev).toEqual({ major: 4095, minor: 1048575 });
  });

  it('reads owners, modes and times from the header, also negative and wide', async () => {
    const entry = await read({ name: 'f', mode: 0o104755, uid: 4294967294, gid: 70000, mtime: -315619200 });
    expect(entry).toMatchObject({
      mode: 0o4755,
      uid: 4294967294,
      gid: 70000,
      mtimeSec: -315619200,
      mtimeNsec: 0,
    });
  });

  it('PAX records win over the header', async () => {
    const entry = await read({
      name: 'short',
      pax: [
        ['path', Buffer.from([0x70, 0xff, 0xe9])],
        ['uid', '3000000000'],
        ['gid', '7'],
        ['mtime', '-86400.25'],
        ['SCHILY.xattr.security.capability', Buffer.from('0100000200ff', 'hex')],
        ['SCHILY.xattr.user.empty', ''],
      ],
    });
    expect(entry).toMatchObject({ uid: 3000000000, gid: 7, mtimeSec: -86401, mtimeNsec: 750000000 });
    expect(entry.path).toEqual(Buffer.from([0x70, 0xff, 0xe9]));
    expect(entry.xattrs).toEqual([
      { name: Buffer.from('security.capability'), value: Buffer.from('0100000200ff', 'hex') },
      { name: Buffer.from('user.empty'), value: Buffer.alloc(0) },
    ]);
  });

  it('takes the size from PAX, and the link target', async () => {
    const entries = await readAll(
      makeTar([
        { name: 'f', size: 0, data: 'x'.repeat(600), pax: [['size', '600']] },
        { name: 'l', type: '2', pax: [['linkpath', Buffer.from([0x2f, 0xff])]] },
        { name: 'after', data: 'in step' },
      ]),
    );
    expect(entries[0]!.content.toString()).toBe('x'.repeat(600));
    expect(entries[1]!.linkTarget).toEqual(Buffer.from([0x2f, 0xff]));
    expect(entries[2]!.content.toString()).toBe('in step');
  });

  it('reads names that are not UTF-8 and ustar prefixes byte for byte', async () => {
    const entry = await read({
      name: Buffer.from([0x6e, 0xe9, 0x0a]),
      patch: (block) => block.write('dir/\xff', 345, 'latin1'),
    });
    expect(entry.path).toEqual(Buffer.from('dir/\xff/n\xe9\n', 'latin1'));
  });

  it('takes no prefix where GNU keeps times, and a shorter one where star does', async () => {
    const gnu = await read({ name: 'f', magic: 'ustar ', patch: (block) => block.write('00000000001', 345) });
    expect(gnu.name).toBe('f');
    const star = await read({
      name: 'f',
      patch: (block) => {
        block.fill('p', 345, 345 + 131).write('00000000001', 476);
        block.write('tar\0', 508);
      },
    });
    expect(star.name).toBe(`${'p'.repeat(131)}/f`);
  });

  it('reads GNU long names and links, which win over PAX', async () => {
    const long = 'n'.repeat(300);
    const [entry, next] = await readAll(
      makeTar([
        { name: '././@LongLink', type: 'L', data: `${long}\0` },
        { name: '././@LongLink', type: 'K', data: `${'t'.repeat(200)}\0` },
        { name: 'cut', type: '2', link: 'cut', magic: 'ustar ', pax: [['path', 'loses']] },
        { name: 'next' },
      ]),
    );
    expect(entry!.name).toBe(long);
    expect(entry!.linkTarget.toString()).toBe('t'.repeat(200));
    expect(next!.name).toBe('next');
  });

  it('global headers give later entries owner and time, but no name or size', async () => {
    const global = Buffer.concat([
      paxRecord('mtime', '99.5'),
      paxRecord('gid', '8'),
      paxRecord('path', 'wrong'),
      paxRecord('size', '12345'),
      paxRecord('comment', 'from git'),
    ]);
    const [one, two] = await readAll(
      makeTar([
        { name: 'pax_global_header', type: 'g', data: global },
        { name: 'one', data: '1' },
        { name: 'two', data: '2', pax: [['gid', '9']] },
      ]),
    );
    expect(one).toMatchObject({ name: 'one', gid: 8, mtimeSec: 99, mtimeNsec: 500000000, size: 1 });
    expect(two).toMatchObject({ name: 'two', gid: 9, mtimeSec: 99, size: 1 });
  });

  it('links and directories have no content, whatever their size field says', async () => {
    const entries = await readAll(
      makeTar([
        { name: 'h', type: '1', link: 'f', size: 100 },
        { name: 'd', type: '5', size: 4096 },
        { name: 'f', data: 'still in step' },
      ]),
    );
    expect(entries.map(({ name, size }) => [name, size])).toEqual([
      ['h', 0],
      ['d', 0],
      ['f', 13],
    ]);
    expect(entries[2]!.content.toString()).toBe('still in step');
  });

  it('survives an extended header without content', async () => {
    const entries = await readAll(
      makeTar([
        { name: 'x', type: 'x' },
        { name: 'g', type: 'g' },
        { name: 'f', data: 'a'.repeat(700) },
        { name: 'last' },
      ]),
    );
    expect(entries.map(({ name, size }) => [name, size])).toEqual([
      ['f', 700],
      ['last', 0],
    ]);
  });
});

describe.each<Reader>(['readTar', 'scanTar'])('the stream, with %s', (reader) => {
  const read = READERS[reader];
  const tar = makeTar([
    { name: 'a', data: 'A'.repeat(1300), pax: [['mtime', '1.5']] },
    { name: 'n'.repeat(200), data: 'B'.repeat(512) },
    { name: 'empty' },
    { name: 'c', data: 'C' },
  ]);

  it.each([1, 7, 511, 512, 513, 4096])('does not care for pieces of %d bytes', async (size) => {
    expect(await readAll(tar, size)).toEqual(await readAll(tar));
  });

  it('passes over bodies that are not read, or not to their end', async () => {
    const names: string[] = [];
    for await (const entry of read(inPieces(tar, 100), 'layer')) {
      names.push(entry.path.toString().slice(0, 5));
      if (names.length === 1) continue;
      for await (const _ of entry.body) break;
    }
    expect(names).toEqual(['a', 'nnnnn', 'empty', 'c']);
  });

  it('reads the source to its end, behind the end marker too, and ignores what stands there', async () => {
    let ended = false;
    async function* source(): AsyncGenerator<Buffer> {
      yield* inPieces(tar, 999);
      yield Buffer.alloc(10240 - 1024);
      yield Buffer.from('no tar at all, and no whole block');
      ended = true;
    }
    let count = 0;
    for await (const _ of read(source(), 'layer')) count++;
    expect([count, ended]).toEqual([4, true]);
  });

  it("hands on the source's own error, in a body as behind the end", async () => {
    for (const length of [700, tar.length]) {
      async function* source(): AsyncGenerator<Buffer> {
        yield tar.subarray(0, length);
        throw new Error('the digest is wrong');
      }
      const reading = (async () => {
        for await (const { body } of read(source(), 'layer')) for await (const _ of body);
      })();
      await expect(reading).rejects.toThrow('the digest is wrong');
    }
  });

  it('ends the source when the reader stops early', async () => {
    let ended = false;
    async function* source(): AsyncGenerator<Buffer> {
      try {
        for (let i = 0; i < 1000; i++) yield tarEntry({ name: `f${i}`, data: 'x'.repeat(100_000) });
      } finally {
        ended = true;
      }
    }
    for await (const _ of read(source(), 'layer')) break;
    expect(ended).toBe(true);
  });

  it('takes a tar without end marker, an empty one and one of a single zero block', async () => {
    expect(await readAll(tar.subarray(0, -1024))).toHaveLength(4);
    expect(await readAll(Buffer.alloc(0))).toEqual([]);
    expect(await readAll(Buffer.alloc(512))).toEqual([]);
    expect(await readAll(Buffer.alloc(1024))).toEqual([]);
  });
});

describe('damaged tars', () => {
  const whole = Buffer.concat([
    tarEntry({ name: 'first', data: 'x'.repeat(100) }),
    tarEntry({ name: 'dir/big', data: 'y'.repeat(5000) }),
  ]);

  it('a cut inside a body is TRUNCATED, naming layer and entry', async () => {
    for (const size of [1, 512, 100_000]) {
      expect(await failure(whole.subarray(0, 2000), size)).toBe(
        'TRUNCATED layer 1: the tar ends too early, in or behind entry "dir/big"',
      );
    }
  });

  it('a cut inside a header, or between an extended header and its entry, is TRUNCATED', async () => {
    expect(await failure(whole.subarray(0, 1124))).toMatch(/^TRUNCATED layer 1: .*entry "first"/);
    const pax = tarEntry({ name: 'f', pax: [['mtime', '1']] });
    expect(await failure(pax.subarray(0, 1024))).toMatch(
      /^TRUNCATED layer 1: the tar ends in front of the entry of the extended header at offset 0/,
    );
    expect(await failure(pax.subarray(0, 700))).toMatch(/^TRUNCATED/);
  });

  it('every cut of a tar is TRUNCATED or ends between two entries', async () => {
    const ends = [0, 1024, whole.length];
    for (let cut = 0; cut <= whole.length; cut += 37) {
      if (ends.includes(cut)) continue;
      // The padding behind the last body may be missing in part: that is a cut as well.
      expect(await failure(whole.subarray(0, cut)), `cut at ${cut}`).toMatch(/^TRUNCATED/);
    }
  });

  it('a wrong checksum names the offset', async () => {
    const bad = Buffer.from(whole);
    bad[1024 + 5]! ^= 1;
    expect(await failure(bad)).toBe(
      'MALFORMED layer 1: at offset 1024: no valid tar header (its checksum is wrong)',
    );
  });

  it.each<[string, TarItem, string]>([
    [
      'a size that is no number',
      { name: 'f', patch: (b) => b.write('12x', 124) },
      'MALFORMED layer 1: entry "f": size',
    ],
    ['a negative size', { name: 'f', size: -5 }, 'MALFORMED layer 1: entry "f": negative size'],
    ['a negative uid', { name: 'f', uid: -2 }, 'MALFORMED layer 1: entry "f": negative uid'],
    ['a gid that is none', { name: 'f', gid: 4294967295 }, 'UNSUPPORTED layer 1: entry "f": gid 4294967295'],
    [
      'an unknown type',
      { name: 'f', type: 'Q' },
      'UNSUPPORTED layer 1: entry "f" at offset 0 has the unknown type "Q"',
    ],
    ['a part of a larger volume', { name: 'f', type: 'M' }, 'UNSUPPORTED'],
    ['a PAX time that is none', { name: 'f', pax: [['mtime', 'x']] }, 'MALFORMED layer 1: entry "f": mtime'],
    ['a PAX size that is none', { name: 'f', pax: [['size', '-1']] }, 'MALFORMED layer 1: entry "f": size'],
    [
      'a NUL in a PAX name',
      { name: 'f', pax: [['path', 'a\0b']] },
      'MALFORMED layer 1: entry "a\\u0000b": a NUL',
    ],
    [
      'PAX records that are none',
      { name: 'x', type: 'x', data: 'hello' },
      'MALFORMED layer 1: extended header at offset 0',
    ],
  ])('%s', async (_, item, message) => {
    expect(await failure(Buffer.concat([tarEntry(item), makeTar([{ name: 'z' }])]))).toContain(message);
  });

  it('a name may have 4095 bytes and not one more', async () => {
    const name = `${'d/'.repeat(2047)}f`;
    expect((await read({ name })).name).toBe(name);
    expect(await failure(makeTar([{ name: `/${name}` }]))).toContain('LIMIT_EXCEEDED');
    expect(await failure(makeTar([{ name: 'l', type: '2', link: `/${name}` }]))).toContain('link target');
  });

  it('an extended header may have 1 MiB and not one byte more', async () => {
    const fill = (total: number) => {
      const record = paxRecord('comment', 'c'.repeat(total - 'NNNNNNN comment=\n'.length));
      expect(record).toHaveLength(total);
      return { name: 'x', type: 'x', data: record };
    };
    expect(await readAll(makeTar([fill(1 << 20), { name: 'f' }]))).toHaveLength(1);
    expect(await failure(makeTar([fill((1 << 20) + 1), { name: 'f' }]))).toContain('LIMIT_EXCEEDED');
  });

  it('counts entries', async () => {
    const tar = makeTar([{ name: 'a' }, { name: 'b' }, { name: 'c' }]);
    for (const read of Object.values(READERS)) {
      const count = async (maxEntries: number) => {
        for await (const _ of read(inPieces(tar), 'layer', { maxEntries }));
      };
      await count(3);
      await expect(count(2)).rejects.toThrow('layer: more than 2 entries');
    }
  });

  it('a tar of random bytes is an error and nothing else', async () => {
    const noise = Buffer.alloc(4096, 'noise');
    expect(await failure(noise)).toContain('MALFORMED layer 1: at offset 0');
    const almost = Buffer.from(noise);
    fixChecksum(almost.subarray(0, 512));
    expect(await failure(padded(almost))).toMatch(/^(MALFORMED|UNSUPPORTED|TRUNCATED) layer 1/);
  });
});
