import { Readable } from 'node:stream';
import { RafterError } from '../errors.js';
import { type Descriptor, type Digest, verifyBytes } from '../image/descriptor.js';
import { embeddedData } from '../image/embedded-data.js';
import { MAX_MANIFEST_SIZE } from '../image/manifest.js';
import type { RegistryReference } from '../image/reference.js';
import type { ImageSource, OpenBlobOptions, ReadUrgency } from '../image/source.js';
import { distrustBytes, openBlob, readBlobRange } from './blobs.js';
import { getManifest, type StoredManifest } from './manifests.js';
import type { RegistryOptions } from './options.js';
import { profileByHost } from './profiles/index.js';
import { listReferrers } from './referrers.js';
import { openSession, type Session } from './session.js';

/** An image in a registry. Opens connections when they are first needed. */
export class RegistrySource implements ImageSource {
  readonly name: string;
  readonly place: { registry: string; repository: string };
  readonly #reference: RegistryReference;
  readonly #session: Session;
  /** `resolve` has to fetch the manifest to be sure of its digest; `readManifest` need not do it again. */
  #resolved: StoredManifest | undefined;

  constructor(reference: RegistryReference, options: RegistryOptions = {}) {
    this.name = reference.name;
    this.place = { registry: reference.registry, repository: reference.repository };
    this.#reference = reference;
    this.#session = openSession(reference, options);
  }

  async resolve(signal?: AbortSignal): Promise<Descriptor> {
    const { tag, digest } = this.#reference;
    this.#resolved = await getManifest(this.#session, digest ?? tag ?? 'latest', signal);
    return this.#resolved.descriptor;
  }

  async readManifest(descriptor: Descriptor, signal?: AbortSignal): Promise<Buffer> {
    const what = `${this.#session.name}@${descriptor.digest}`;
    if (descriptor.size > MAX_MANIFEST_SIZE) {
      throw new RafterError(
        'LIMIT_EXCEEDED',
        `${what}: ${descriptor.size} bytes, more than the limit of ${MAX_MANIFEST_SIZE}`,
      );
    }
    const embedded = embeddedData(descriptor);
    if (embedded !== undefined) return embedded;
    const known = this.#resolved?.descriptor.digest === descriptor.digest ? this.#resolved : undefined;
    const { bytes } = known ?? (await getManifest(this.#session, descriptor.digest, signal));
    verifyBytes(bytes, descriptor, what);
    return bytes;
  }

  async openBlob(
    descriptor: Descriptor,
    signal?: AbortSignal,
    options?: Omit<OpenBlobOptions, 'signal'>,
  ): Promise<Readable> {
    const embedded = embeddedData(descriptor);
    if (embedded !== undefined) return Readable.from(embedded.length > 0 ? [embedded] : []);
    return openBlob(this.#session, descriptor, { signal, ...options });
  }

  readBlobRange(
    descriptor: Descriptor,
    offset: number,
    length: number,
    signal?: AbortSignal,
    urgency?: ReadUrgency,
  ): Promise<Buffer> {
    return readBlobRange(this.#session, descriptor, { offset, length, urgency }, signal);
  }

  readFewBytes(
    descriptor: Descriptor,
    offset: number,
    length: number,
    signal?: AbortSignal,
  ): Promise<Buffer> {
    return readBlobRange(this.#session, descriptor, { offset, length, isDirect: true }, signal);
  }

  async listReferrers(
    digest: Digest,
    options: { artifactType: string; signal?: AbortSignal | undefined },
  ): Promise<Descriptor[]> {
    const profile = profileByHost(this.place.registry);
    return (await listReferrers(this.#session, digest, { profile, ...options })).descriptors;
  }

  openSpares(count: number): void {
    this.#session.openSpares(count);
  }

  get pieceBytes(): number | undefined {
    return this.#session.pieceBytes;
  }

  distrust(bytes: Buffer | Readable): boolean {
    return distrustBytes(bytes);
  }

  close(): Promise<void> {
    return this.#session.close();
  }
}
