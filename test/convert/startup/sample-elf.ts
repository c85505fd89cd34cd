/** An ELF file of 64 bits with what the dynamic linker looks at; `padding` bytes stand between its strings and its dynamic section. */
export function makeElf({
  interpreter,
  needed = [],
  rpath,
  runpath,
  machine = 62,
  padding = 0,
}: {
  interpreter?: string;
  needed?: string[];
  rpath?: string;
  runpath?: string;
  machine?: number;
  padding?: number;
}): Buffer {
  const texts = ['', interpreter ?? '', ...needed, rpath ?? '', runpath ?? ''];
  const offsets = texts.map((_, i) => Buffer.byteLength(texts.slice(0, i).join('\0')) + Number(i > 0));
  const strings = Buffer.from(`${texts.join('\0')}\0`);
  const base = 0x10000;
  const stringsAt = 64 + 3 * 56;
  const dynamicAt = stringsAt + strings.length + padding;
  const entries = [
    ...needed.map((_, i) => [1, offsets[2 + i]!]),
    ...(rpath === undefined ? [] : [[15, offsets.at(-2)!]]),
    ...(runpath === undefined ? [] : [[29, offsets.at(-1)!]]),
    [5, base + stringsAt],
    [0, 0],
  ];
  const bytes = Buffer.alloc(dynamicAt + entries.length * 16);
  Buffer.from('7f454c46020101', 'hex').copy(bytes);
  bytes.writeUInt16LE(machine, 18);
  bytes.writeUInt32LE(64, 32);
  bytes.writeUInt16LE(56, 54);
  bytes.writeUInt16LE(3, 56);
  const segments = [
    [1, 0, base, bytes.length],
    [2, dynamicAt, base + dynamicAt, entries.length * 16],
    interpreter === undefined ? [4, 0, 0, 0] : [3, stringsAt + offsets[1]!, 0, interpreter.length + 1],
  ];
  for (const [i, [type, offset, address, size]] of segments.entries()) {
    const at = 64 + i * 56;
    bytes.writeUInt32LE(type!, at);
    bytes.writeUInt32LE(offset!, at + 8);
    bytes.writeUInt32LE(address!, at + 16);
    bytes.writeUInt32LE(size!, at + 32);
  }
  strings.copy(bytes, stringsAt);
  for (const [i, [tag, value]] of entries.entries()) {
    bytes.writeUInt32LE(tag!, dynamicAt + i * 16);
    bytes.writeUInt32LE(value!, dynamicAt + i * 16 + 8);
  }
  return bytes;
}
