import { expect, it } from 'vitest';
import { errnoOf, isRafterError, messageOf, RafterError } from '../src/errors.js';

it.each([
  ['https://me:s3cret@host/v2/', 'https://host/v2/'],
  ['GET https://cdn.example/x?X-Amz-Signature=abc&y=1 failed', 'GET https://cdn.example/x?… failed'],
  ['sent Authorization: Bearer eyJhbGciOi.J9.xyz', 'sent Authorization: Bearer …'],
  ['sent Basic dXNlcjpwYXNz', 'sent Basic …'],
])('takes the secrets out of %j', (text, clean) => {
  expect(new RafterError('FAILED', text, { hint: text })).toMatchObject({ message: clean, hint: clean });
  expect(messageOf(new Error(text))).toBe(clean);
});

it('keeps code, cause and whether trying again makes sense', () => {
  const cause = new Error('socket closed');
  const error = new RafterError('UNAVAILABLE', 'no answer', { cause });
  expect(error).toMatchObject({ code: 'UNAVAILABLE', temporary: true, cause });
  expect(new RafterError('DENIED', 'no').temporary).toBe(false);
  expect(isRafterError(error, 'UNAVAILABLE')).toBe(true);
  expect(isRafterError(error, 'DENIED')).toBe(false);
  expect(isRafterError(cause)).toBe(false);
});

it('reads system error codes and joins lines', () => {
  expect(errnoOf(Object.assign(new Error('x'), { code: 'ENOENT' }))).toBe('ENOENT');
  expect(errnoOf(null)).toBeUndefined();
  expect(messageOf(new Error('one\n  two'))).toBe('one two');
  expect(messageOf('text')).toBe('text');
});

it('escapes what a terminal would obey', () => {
  expect(new RafterError('MALFORMED', 'name \u001b[2Jx\u009b\u007f').message).toBe(
    'name \\u001b[2Jx\\u009b\\u007f',
  );
});
