import { randomBytes } from 'node:crypto';
import { buffer } from 'node:stream/consumers';
import { RafterError } from '../errors.js';
import { OCI_LAYER_GZIP } from '../image/media-types.js';
import { headBlob, openBlob } from './blobs.js';
import { BLOB_SIZE, type DoctorState, sampleBlob, storeManifest } from './doctor-state.js';
import { deleteManifest, getManifest, headManifest } from './manifests.js';
import { refineProfile } from './profiles/index.js';
import { listReferrers } from './referrers.js';
import { addToReferrersTag, removeFromReferrersTag } from './referrers-tag.js';
import { pingedProfile } from './session.js';
import { discardBody } from './transport.js';
import { beginUpload, cancelUpload, sendPiece, uploadStatus } from './upload-session.js';
import { finishUpload, patchAll, putStream, putWhole } from './upload-ways.js';

/** Bytes of a piece; a registry that wants larger ones is not sent any. */
const PIECE_SIZE = 32 << 10;

interface Check {
  operation: string;
  needs?: (state: DoctorState) => boolean;
  run(state: DoctorState): Promise<{ result: 'works' | 'other'; detail: string }>;
}

const works = (detail: string) => ({ result: 'works' as const, detail });
const other = (detail: string) => ({ result: 'other' as const, detail });

/** All operations, in an order in which later ones build on earlier ones. */
export const CHECKS: Check[] = [
  {
    operation: 'pull rights',
    async run(state) {
      const { session, signal, tag } = state;
      const response = await session.send({
        method: 'GET',
        path: `manifests/${tag}`,
        access: 'pull',
        expect: [200, 404],
        signal,
      });
      await discardBody(response);
      const url = new URL('/v2/', response.url);
      state.profile = await pingedProfile(refineProfile(state.profile, response.headers), () =>
        session.send({ method: 'GET', url, access: 'pull', expect: [200], signal }),
      );
      return works(`answered by ${response.url.origin}`);
    },
  },
  {
    operation: 'push: whole',
    async run(state) {
      const blob = sampleBlob(state);
      await putWhole(state.session, blob, state);
      state.blob = { mediaType: OCI_LAYER_GZIP, digest: blob.digest, size: blob.size };
      state.bytes = blob.bytes;
      return works('one PUT');
    },
  },
  {
    operation: 'push: streamed',
    async run(state) {
      await putStream(state.session, sampleBlob(state), state);
      return works('one PATCH without a length');
    },
  },
  {
    operation: 'push: in pieces',
    async run(state) {
      const { session, profile, signal } = state;
      if (profile.upload?.pieces === false) return other(`${profile.name} does not take them`);
      const place = (await beginUpload(session, { signal }))!;
      if (place.minPiece > PIECE_SIZE) {
        await cancelUpload(session, place);
        return other(`wants at least ${place.minPiece} bytes each`);
      }
      const blob = sampleBlob(state);
      const end = await patchAll(session, blob, { place, pieceSize: PIECE_SIZE, signal });
      await finishUpload(session, blob, { place: end, signal });
      return works(`PATCH with Content-Range, ${BLOB_SIZE / PIECE_SIZE} times`);
    },
  },
  {
    operation: 'push: state of an upload',
    async run({ session, signal }) {
      const place = (await beginUpload(session, { signal }))!;
      const bytes = randomBytes(PIECE_SIZE);
      const body = { size: bytes.length, open: () => bytes };
      const sent = await sendPiece(session, { place, start: 0, body }, signal);
      const status = await uploadStatus(session, sent, signal);
      await cancelUpload(session, status ?? sent);
      if (status?.received === bytes.length) return works('says how much has arrived');
      return other('does not say how much has arrived: an upload that is cut begins anew');
    },
  },
  {
    operation: 'push: mount',
    needs: ({ blob }) => blob !== undefined,
    async run({ session, blob, repository, signal }) {
      const place = await beginUpload(session, { mount: { digest: blob!.digest, from: repository }, signal });
      if (place === undefined) return works('takes over what it has, without its bytes');
      await cancelUpload(session, place);
      return other('what it has elsewhere is sent again');
    },
  },
  {
    operation: 'pull: HEAD',
    needs: ({ blob }) => blob !== undefined,
    async run({ session, blob, signal }) {
      const found = await headBlob(session, blob!.digest, { access: 'pull', signal });
      if (found === undefined) throw new RafterError('NOT_FOUND', 'a blob that was stored is not there');
      return found.size === blob!.size ? works('with its size') : other('without its size');
    },
  },
  {
    operation: 'pull: whole',
    needs: ({ blob }) => blob !== undefined,
    async run({ session, blob, signal }) {
      await buffer(await openBlob(session, blob!, { signal }));
      return works('the bytes that were sent');
    },
  },
  {
    operation: 'pull: range',
    needs: ({ blob }) => blob !== undefined,
    async run({ session, blob, bytes, signal }) {
      const response = await session.send({
        method: 'GET',
        path: `blobs/${blob!.digest}`,
        headers: { range: 'bytes=1000-1099' },
        access: 'pull',
        expect: [200, 206],
        signal,
      });
      const got = await buffer(response.body);
      const [where, there] = [response.request.split(' ')[1] ?? '', response.url];
      const from = where.startsWith(there.origin) ? 'by the registry itself' : `redirected to ${there.host}`;
      if (response.status === 200) return other(`ranges are ignored: lazy loading will be slow; ${from}`);
      if (got.equals(bytes!.subarray(1000, 1100))) return works(from);
      throw new RafterError('MALFORMED', 'other bytes than those asked for');
    },
  },
  {
    operation: 'manifest',
    needs: ({ blob }) => blob !== undefined,
    async run(state) {
      const { session, signal, tag } = state;
      const image = await storeManifest(state, tag, {});
      state.image = image;
      const { digest } = image.descriptor;
      const read = await getManifest(session, tag, signal);
      const found = await headManifest(session, digest, { access: 'pull', signal });
      if (read.descriptor.digest === digest && found?.digest === digest) return works('by tag and by digest');
      throw new RafterError('NOT_FOUND', 'a manifest that was stored is not there');
    },
  },
  {
    operation: 'referrers',
    needs: ({ image }) => image !== undefined,
    async run(state) {
      const { session, profile, signal } = state;
      const subject = state.image!.descriptor;
      const referrer = await storeManifest(state, undefined, { subject });
      state.referrer = referrer;
      const { descriptor } = referrer;
      const has = async () => {
        const { by, descriptors } = await listReferrers(session, subject.digest, { profile, signal });
        return descriptors.some(({ digest }) => digest === descriptor.digest) ? by : undefined;
      };
      if ((await has()) === 'api') return works('listed by the registry');
      await addToReferrersTag(session, subject.digest, descriptor, signal);
      if ((await has()) === 'tag') return other('kept under a tag by clients');
      throw new RafterError('UNSUPPORTED', 'neither listed by the registry nor kept under a tag');
    },
  },
  {
    operation: 'delete',
    needs: ({ image }) => image !== undefined,
    async run(state) {
      const { session, image, referrer, signal } = state;
      if (referrer !== undefined) {
        await deleteManifest(session, referrer.descriptor.digest, signal);
        state.referrer = undefined;
        await removeFromReferrersTag(session, image!.descriptor.digest, referrer.descriptor.digest, signal);
      }
      await deleteManifest(session, image!.descriptor.digest, signal);
      const rest = await headManifest(session, state.tag, { access: 'pull', signal });
      if (rest !== undefined) return other('the digest is gone, its tag still answers');
      state.image = undefined;
      return works('manifests, by digest');
    },
  },
];
