import { createRequire } from 'node:module';
import { loadNative } from '../os/native-package.js';

type Zstd = typeof import('zstd-napi/binding.js');
type Lz4 = typeof import('lz4-napi');
type Blake = typeof import('@napi-rs/blake-hash');
type Crc32 = typeof import('@node-rs/crc32');

const require = createRequire(import.meta.url);
/** Ends the names of the packages with machine code for this processor. */
const PLATFORM = `linux-${process.arch}-gnu`;

// Each is loaded at its first use: most commands need few of them, and loading one takes as long as many requests to a registry.
let zstdModule: Zstd | undefined;
let lz4Module: Lz4 | undefined;
let blake3Function: Blake['blake3'] | undefined;
let crc32cFunction: Crc32['crc32c'] | undefined;

/** zstd's contexts for blocks and streams. */
export function zstd(): Zstd {
  zstdModule ??= require('zstd-napi/binding.js') as Zstd;
  return zstdModule;
}

/** LZ4 blocks with their decoded size in front. */
export function lz4(): Lz4 {
  lz4Module ??= loadNative<Lz4>('lz4-napi', `@antoniomuso/lz4-napi-${PLATFORM}`);
  return lz4Module;
}

/** BLAKE3 of `data`, 32 bytes. */
export function blake3(data: Buffer): Buffer {
  blake3Function ??= loadNative<Blake>('@napi-rs/blake-hash', `@napi-rs/blake-hash-${PLATFORM}`).blake3;
  return blake3Function(data);
}

/** CRC-32C (Castagnoli) of `data`; its 32 bits may come as a negative number. */
export function nativeCrc32c(data: Buffer): number {
  crc32cFunction ??= loadNative<Crc32>('@node-rs/crc32', `@node-rs/crc32-${PLATFORM}`).crc32c;
  return crc32cFunction(data);
}
