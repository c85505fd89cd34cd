import { Readable } from 'node:stream';
import { expect, it } from 'vitest';
import type { Session } from '../../src/registry/session.js';
import { beginUpload } from '../../src/registry/upload-session.js';

/** A session whose registry at `registry` begins uploads at `location`. */
function sessionWith(registry: string, location: string): Session {
  const url = new URL(registry);
  const answer = { status: 202, headers: { location }, url, body: Readable.from([]) };
  return { name: 'reg/app', send: async () => answer } as unknown as Session;
}

it.each([
  ['https://reg.example.com/v2/', 'https://127.0.0.1:8443/x', 'which is this machine'],
  ['https://reg.example.com/v2/', 'https://169.254.169.254/latest', 'which is this machine'],
  ['http://reg.example.com/v2/', 'http://localhost:6443/x', 'which is this machine'],
  ['https://reg.example.com/v2/', 'http://reg.example.com/x', 'which is not https'],
])('the registry %s is not followed to %s', async (registry, location, reason) => {
  const beginning = beginUpload(sessionWith(registry, location), {});
  await expect(beginning).rejects.toMatchObject({ code: 'DENIED', message: expect.stringContaining(reason) });
});

it.each([
  ['https://reg.example.com/v2/', 'https://storage.example.com/x?a=b'],
  ['http://127.0.0.1:5000/v2/', 'http://localhost:5000/v2/x'],
  ['https://10.0.0.1/v2/', '/v2/app/blobs/uploads/1'],
])('the registry %s is followed to %s', async (registry, location) => {
  const place = await beginUpload(sessionWith(registry, location), {});
  expect(place?.url.href).toBe(new URL(location, registry).href);
});
