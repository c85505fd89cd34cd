/** What a test wants to stand in a tar. Everything that is not given has a plain default. */
export interface TarItem {
  name: string | Buffer;
  type?: string;
  data?: Buffer | string;
  mode?: number;
  uid?: number;
  gid?: number;
  mtime?: number;
  link?: string | Buffer;
  dev?: [number, number];
  /** PAX records of this entry, in order; values as bytes or text. */
  pax?: [key: string, value: Buffer | string][];
  /** Size in the header, where it is to differ from the data's. */
  size?: number;
  /** Six bytes at 257; default POSIX. */
  magic?: string;
  /** Changes the finished header block before its checksum is made. */
  patch?: (block: Buffer) => void;
  /** Blocks between header and data. */
  extra?: Buffer;
}

const bytesOf = (value: string | Buffer) => (typeof value === 'string' ? Buffer.from(value) : value);

/** Octal if it fits, otherwise GNU base-256 in two's complement. */
export function encodeNumber(value: number, size: number): Buffer {
  if (value >= 0 && value < 8 ** (size - 1)) {
    return Buffer.from(`${value.toString(8).padStart(size - 1, '0')}\0`);
  }
  const bits = BigInt(8 * (size - 1));
  const low = BigInt.asUintN(Number(bits), BigInt(value));
  const hex = low.toString(16).padStart(2 * (size - 1), '0');
  return Buffer.concat([Buffer.from([value < 0 ? 0xff : 0x80]), Buffer.from(hex, 'hex')]);
}

export function fixChecksum(block: Buffer): void {
  block.fill(0x20, 148, 156);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
}

function header(item: TarItem, name: Buffer, link: Buffer, size: number): Buffer {
  const block = Buffer.alloc(512);
  name.copy(block, 0, 0, 100);
  encodeNumber(item.mode ?? (item.type === '5' ? 0o755 : 0o644), 8).copy(block, 100);
  encodeNumber(item.uid ?? 0, 8).copy(block, 108);
  encodeNumber(item.gid ?? 0, 8).copy(block, 116);
  encodeNumber(item.size ?? size, 12).copy(block, 124);
  encodeNumber(item.mtime ?? 1_700_000_000, 12).copy(block, 136);
  block.write(item.type ?? '0', 156, 'latin1');
  link.copy(block, 157, 0, 100);
  block.write(item.magic ?? 'ustar\0', 257, 'latin1');
  block.write(item.magic === 'ustar ' ? ' \0' : '00', 263, 'latin1');
  encodeNumber(item.dev?.[0] ?? 0, 8).copy(block, 329);
  encodeNumber(item.dev?.[1] ?? 0, 8).copy(block, 337);
  item.patch?.(block);
  fixChecksum(block);
  return block;
}

/** Fills up to whole blocks. */
export function padded(data: Buffer): Buffer {
  return Buffer.concat([data, Buffer.alloc(-data.length & 511)]);
}

/** One `LENGTH KEY=VALUE` record. */
export function paxRecord(key: string, value: Buffer | string): Buffer {
  const tail = Buffer.concat([Buffer.from(` ${key}=`, 'latin1'), bytesOf(value), Buffer.from('\n')]);
  let length = tail.length;
  while (length !== tail.length + String(length).length) length = tail.length + String(length).length;
  return Buffer.concat([Buffer.from(String(length)), tail]);
}

/** The blocks of one entry; names above 100 bytes go into a PAX record. */
export function tarEntry(item: TarItem): Buffer {
  const name = bytesOf(item.name);
  const link = bytesOf(item.link ?? '');
  const data = bytesOf(item.data ?? '');
  const records = [...(item.pax ?? [])];
  if (name.length > 100) records.push(['path', name]);
  if (link.length > 100) records.push(['linkpath', link]);
  const blocks: Buffer[] = [];
  if (records.length > 0) {
    const content = Buffer.concat(records.map(([key, value]) => paxRecord(key, value)));
    blocks.push(
      header({ name: '', type: 'x' }, Buffer.from('PaxHeaders/x'), Buffer.alloc(0), content.length),
      padded(content),
    );
  }
  return Buffer.concat([
    ...blocks,
    header(item, name, link, data.length),
    item.extra ?? Buffer.alloc(0),
    padded(data),
  ]);
}

/** A whole tar with its end marker. */
export function makeTar(items: TarItem[]): Buffer {
  return Buffer.concat([...items.map(tarEntry), Buffer.alloc(1024)]);
}
