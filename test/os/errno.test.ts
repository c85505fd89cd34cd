import { expect, it } from 'vitest';
import { errnoName, systemError } from '../../src/os/errno.js';

it('names errno numbers, and says the number when there is no name', () => {
  expect(errnoName(16)).toBe('EBUSY');
  expect(errnoName(98765)).toBe('errno 98765');
  expect(systemError(15, 'mount x')).toMatchObject({
    code: 'UNSUPPORTED',
    message: 'cannot mount x: ENOTBLK',
  });
});

it.each([
  [16, 'BUSY', 'cannot unmount /x: EBUSY'],
  [1, 'DENIED', 'cannot unmount /x: EPERM'],
  [2, 'NOT_FOUND', 'cannot unmount /x: ENOENT'],
  [19, 'UNSUPPORTED', 'cannot unmount /x: ENODEV'],
  [28, 'NO_SPACE', 'cannot unmount /x: ENOSPC'],
  [22, 'FAILED', 'cannot unmount /x: EINVAL'],
])('turns errno %i into %s', (errno, code, message) => {
  expect(systemError(errno, 'unmount /x')).toMatchObject({ code, message });
});

it('hints at root for missing rights, and at what the caller knows about an errno', () => {
  expect(systemError(1, 'mount').hint).toMatch(/root/);
  expect(systemError(16, 'mount', { EBUSY: 'wait' }).hint).toBe('wait');
  expect(systemError(16, 'mount').hint).toBeUndefined();
});
