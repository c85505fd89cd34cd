/*
 * What the OCI conformance suite asks of registries, seen from a client, and where a test shows it:
 *   pull: manifest by tag and digest, 404, blob, HEAD        registry.sys "manifests", "reading a blob"; servers.sys
 *   pull: ranges 500-1499, 500-, past the end (416)           registry.sys "reading a range"
 *   push: POST then PUT; streamed PATCH; PATCH in pieces      upload.sys, profiles.sys; servers.sys "doctor"
 *   push: pieces out of order (416), GET of an upload         upload.sys "is asked where to go on"
 *   push: OCI-Chunk-Min-Length                                upload.sys "pieces of the least size"
 *   push: cancelled upload (DELETE)                           upload.sys "is given up at the registry, too"
 *   push: mount with `from`, without, and refused             profiles.sys "mounting"
 *   push: empty blob, wrong digest                            registry.sys "takes the empty blob"; here
 *   push: manifest with subject, OCI-Subject, no such subject referrers.sys
 *   referrers: API, artifactType, pages, tag schema           referrers.sys
 *   content: sha512; tag parameters (not sent: PUT twice)     servers.sys "SHA-512"; copy
 *   content: nested index, sparse (what is missing is told)   copy "takes indexes in indexes", "leaves nothing"
 *   content: embedded data, no layers, unknown members        embedded-data.sys; export "without layers"; copy (byte for byte)
 *   content management: deletion of manifests, tags, blobs    delete-image.sys; servers.sys "doctor"
 *   tags/list and its pages                                   no command asks for it
 * The rest of this file is a registry that does all of that wrongly.
 */

import { buffer } from 'node:stream/consumers';
import * as fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { isRafterError } from '../../src/errors.js';
import { OCI_CONFIG, OCI_LAYER_GZIP, OCI_MANIFEST } from '../../src/image/media-types.js';
import type { RegistryOptions } from '../../src/registry/options.js';
import { RegistrySource } from '../../src/registry/source.js';
import { RegistryTarget } from '../../src/registry/target.js';
import { type FakeRegistry, startFakeRegistry } from '../support/fake-registry.js';
import { FAULTS } from '../support/faults.js';
import { random } from '../support/mutate.js';
import { PROPERTY_TIMEOUT, propertyRuns } from '../support/property.js';

const always = Number.POSITIVE_INFINITY;
const options: RegistryOptions = {
  dockerConfig: '/nonexistent',
  retry: { attempts: 4, refusedAttempts: 2, baseDelayMs: 1, maxDelayMs: 4, deadlineMs: 20_000 },
};

let registry: FakeRegistry;
beforeEach(async () => {
  registry = await startFakeRegistry();
  registry.intercept(/\/token/, (_, response) => void response.end('{"token":"good"}'), always);
});
afterEach(() => registry.stop());

function bytesOf(seed: number, size: number): Buffer {
  const next = random(seed);
  return Buffer.from(Uint8Array.from({ length: size }, () => next(256)));
}

/** Pushes an image with `layer` and pulls it. What came back, or the error that one of both ended with. */
async function roundTrip(layer: Buffer): Promise<Buffer | unknown> {
  const target = new RegistryTarget(registry.reference(), options);
  const source = new RegistrySource(registry.reference(), options);
  try {
    const store = async (bytes: Buffer) => {
      const writer = await target.createBlob();
      await writer.write(bytes);
      return writer.commit();
    };
    const config = { mediaType: OCI_CONFIG, ...(await store(Buffer.from('{}'))) };
    const layers = [{ mediaType: OCI_LAYER_GZIP, ...(await store(layer)) }];
    const manifest = { schemaVersion: 2, mediaType: OCI_MANIFEST, config, layers };
    await target.putManifest(Buffer.from(JSON.stringify(manifest)), OCI_MANIFEST, { tag: true });
    const bytes = await source.readManifest(await source.resolve());
    const blob = JSON.parse(bytes.toString()).layers[0];
    const whole = await buffer(await source.openBlob(blob));
    // An exact range, too; its bytes are for the caller to verify.
    await source.readBlobRange(blob, 10, 100);
    return whole;
  } catch (error) {
    return error;
  } finally {
    await target.abort();
    await source.close();
  }
}

function outcome(result: Buffer | unknown, layer: Buffer): string {
  if (Buffer.isBuffer(result)) return result.equals(layer) ? 'right' : 'WRONG BYTES';
  if (!isRafterError(result)) throw result;
  expect(result.message).toMatch(/127\.0\.0\.1/);
  expect(result.message.length).toBeLessThan(1000);
  return result.code;
}

const layer = bytesOf(1, 300_000);

describe.each(FAULTS)('$name', ({ match, handler, always: allWays, once = ['right'] }) => {
  it('once', async () => {
    registry.intercept(match, handler(registry), 1);
    expect(once).toContain(outcome(await roundTrip(layer), layer));
  });

  it('always', async () => {
    registry.intercept(match, handler(registry), always);
    expect(allWays).toContain(outcome(await roundTrip(layer), layer));
  });
});

it(
  'a mixture of faults never gives other bytes, and ends in them or in one error',
  async () => {
    const codes = new Set(FAULTS.flatMap((fault) => [...fault.always, ...(fault.once ?? [])]));
    const seen = new Set<string>();
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ fault: fc.nat(FAULTS.length - 1), times: fc.integer({ min: 1, max: 3 }) }), {
          maxLength: 4,
        }),
        fc.nat(),
        fc.constantFrom(0, 1, 1000, 70_000, 4_500_000),
        async (faults, seed, size) => {
          // Streamed, too; large ones cost time, so their bytes repeat.
          const bytes = Buffer.alloc(size + 110, bytesOf(seed, Math.min(size + 110, 4096)));
          const used = await startFakeRegistry();
          const before = registry;
          registry = used;
          try {
            used.intercept(/\/token/, (_, response) => void response.end('{"token":"good"}'), always);
            for (const { fault, times } of faults) {
              const { match, handler } = FAULTS[fault]!;
              used.intercept(match, handler(used), times);
            }
            const result = outcome(await roundTrip(bytes), bytes);
            seen.add(result);
            expect([...codes]).toContain(result);
          } finally {
            registry = before;
            await used.stop();
          }
        },
      ),
      propertyRuns(25),
    );
    expect(seen.has('right')).toBe(true);
    expect(seen.size).toBeGreaterThan(2);
  },
  PROPERTY_TIMEOUT,
);
