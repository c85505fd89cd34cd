import { isDeepStrictEqual } from 'node:util';
import * as fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { isRafterError, RafterError } from '../../src/errors.js';
import { formatReference, parseReference, parseRegistry } from '../../src/image/reference.js';

// Many thousand cases: well under a second alone, not on a machine that builds and tests other things as well.
vi.setConfig({ testTimeout: 60_000 });

const digest = `sha256:${'ab'.repeat(32)}`;
const digest512 = `sha512:${'ab'.repeat(64)}`;

describe('registry references', () => {
  it.each([
    ['python', 'registry-1.docker.io', 'library/python', 'latest', 'docker.io/library/python:latest'],
    ['python:3.12', 'registry-1.docker.io', 'library/python', '3.12', 'docker.io/library/python:3.12'],
    ['team/app', 'registry-1.docker.io', 'team/app', 'latest', 'docker.io/team/app:latest'],
    [
      'docker.io/alpine',
      'registry-1.docker.io',
      'library/alpine',
      'latest',
      'docker.io/library/alpine:latest',
    ],
    ['index.docker.io/a/b:1', 'registry-1.docker.io', 'a/b', '1', 'docker.io/a/b:1'],
    ['registry-1.docker.io/x', 'registry-1.docker.io', 'library/x', 'latest', 'docker.io/library/x:latest'],
    ['docker:20', 'registry-1.docker.io', 'library/docker', '20', 'docker.io/library/docker:20'],
    ['localhost/x:1', 'localhost', 'x', '1', 'localhost/x:1'],
    ['localhost:5000/x', 'localhost:5000', 'x', 'latest', 'localhost:5000/x:latest'],
    ['127.0.0.1:5000/a/b/c:T_.-1', '127.0.0.1:5000', 'a/b/c', 'T_.-1', '127.0.0.1:5000/a/b/c:T_.-1'],
    ['[::1]:5000/x:1', '[::1]:5000', 'x', '1', '[::1]:5000/x:1'],
    ['[2001:db8::2]/x', '[2001:db8::2]', 'x', 'latest', '[2001:db8::2]/x:latest'],
    ['docker://quay.io/org/app:v1', 'quay.io', 'org/app', 'v1', 'quay.io/org/app:v1'],
    ['Registry.Example.COM/x', 'registry.example.com', 'x', 'latest', 'registry.example.com/x:latest'],
    ['host.io/a__b/c-d.e--f', 'host.io', 'a__b/c-d.e--f', 'latest', 'host.io/a__b/c-d.e--f:latest'],
  ])('%s', (text, registry, repository, tag, name) => {
    const reference = parseReference(text);
    expect(reference).toEqual({ transport: 'registry', registry, repository, tag, digest: undefined, name });
    expect(parseReference(formatReference(reference))).toEqual(reference);
  });

  it('takes a digest, with or without a tag', () => {
    expect(parseReference(`h.io/x@${digest}`)).toMatchObject({
      tag: undefined,
      digest,
      name: `h.io/x@${digest}`,
    });
    expect(parseReference(`h.io/x:1@${digest}`)).toMatchObject({
      tag: '1',
      digest,
      name: `h.io/x:1@${digest}`,
    });
    expect(parseReference(`h.io:5000/x@${digest512}`)).toMatchObject({
      registry: 'h.io:5000',
      digest: digest512,
    });
  });

  it('takes names and tags up to their limits', () => {
    const longTag = 'a'.repeat(128);
    expect(parseReference(`h.io/x:${longTag}`)).toMatchObject({ tag: longTag });
    expect(() => parseReference(`h.io/x:${longTag}a`)).toThrow('is not a valid tag');
    const longName = 'a'.repeat(255);
    expect(parseReference(`h.io/${longName}`)).toMatchObject({ repository: longName });
    expect(() => parseReference(`h.io/${longName}a`)).toThrow('more than 255');
  });
});

describe('what is wrong with a reference, and how it is right', () => {
  it.each([
    ['', 'is empty', 'HOST[:PORT]/REPOSITORY'],
    ['h.io/Team/App:1', 'lower case', 'did you mean team/app?'],
    ['MyApp', 'lower case', 'did you mean library/myapp?'],
    ['h.io/x:', '"" is not a valid tag', '1 to 128'],
    ['h.io/x:-a', '"-a" is not a valid tag', 'does not start with'],
    ['h.io/x:a:b', '"x:a" is not valid in a repository name', 'lower-case letters'],
    ['h.io/x@sha256:abc', 'is not a digest', '64'],
    [`h.io/x@sha256:${'AB'.repeat(32)}`, 'is not a digest', 'lower-case'],
    ['h.io/a//b', '"" is not valid in a repository name', 'between slashes'],
    ['h.io/a..b', '"a..b" is not valid', 'separated by one of'],
    ['h.io/../x', '".." is not valid', 'separated'],
    ['h.io/', 'names no repository', 'HOST'],
    ['h.io:0/x', '"0" is not a port', '65535'],
    ['h.io:65536/x', '"65536" is not a port', '65535'],
    ['h.io:http/x', '"http" is not a port', '65535'],
    ['[::zz]:5000/x', 'is not a host name', '[::1]:5000/app'],
    ['./images', 'a path alone is not an image', 'oci:DIR[:TAG]'],
    ['/srv/images/python.tar', 'a path alone is not an image', 'oci-archive:FILE[:TAG]'],
    ['docker-daemon:python:3.12', 'images in docker-daemon cannot be read', 'docker save -o FILE NAME'],
    ['127.0.0.1:5000', 'names no repository', 'HOST[:PORT]/REPOSITORY'],
    ['registry.example.com:443', 'names no repository', 'HOST[:PORT]/REPOSITORY'],
    ['-h.io/x', 'is not a host name', 'IPv4'],
    ['https://h.io/x', 'no transport is called https', 'leave out https://'],
    ['http://h.io/x', 'no transport is called http', '--plain-http'],
    ['ftp://h.io/x', 'no transport is called ftp', 'oci:DIR'],
    ['h.io/x y', 'space or control character', 'HOST'],
    ['h.io/x\n', 'space or control character', 'HOST'],
    ['oci:', 'names no path', 'oci:DIR[:TAG]'],
    ['oci:dir:', 'ends in a colon', 'oci:DIR[:TAG]'],
    ['oci:dir:-x', 'is not a valid tag', 'colon'],
    ['oci-archive:', 'names no path', 'oci-archive:FILE'],
    ['oci-archive:x.tar:-x', 'is not a valid tag', 'colon'],
    ['docker-archive:x.tar:X', 'is written in lower case', 'did you mean'],
    [`docker-archive:x.tar:x@${digest}`, 'has no digest', 'docker-archive:FILE:NAME:TAG'],
  ])('%j', (text, message, hint) => {
    expect(() => parseReference(text)).toThrow(
      expect.objectContaining({
        code: 'USAGE',
        message: expect.stringContaining(message),
        hint: expect.stringContaining(hint),
      }),
    );
  });

  it('never fails otherwise, whatever the text', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 60 }), (text) => {
        try {
          const reference = parseReference(text);
          if (!isDeepStrictEqual(parseReference(formatReference(reference)), reference))
            throw new Error(text);
        } catch (error) {
          if (!isRafterError(error, 'USAGE')) throw error;
        }
      }),
      { numRuns: 1000 },
    );
  });
});

describe('layouts and archives', () => {
  it.each([
    ['oci:dir', { transport: 'oci', path: 'dir' }],
    ['oci:/a/b:latest', { transport: 'oci', path: '/a/b', tag: 'latest' }],
    [
      'oci:./x:docker.io/library/python:3',
      { transport: 'oci', path: './x', tag: 'docker.io/library/python:3' },
    ],
    [`oci:dir@${digest}`, { transport: 'oci', path: 'dir', digest }],
    ['oci-archive:/x.tar:1', { transport: 'oci-archive', path: '/x.tar', tag: '1' }],
    ['docker-archive:x.tar:h.io/a:1', { transport: 'docker-archive', path: 'x.tar', tag: 'h.io/a:1' }],
    [`oci-archive:x.tar@${digest}`, { transport: 'oci-archive', path: 'x.tar', digest }],
    ['docker-archive:x.tar', { transport: 'docker-archive', path: 'x.tar' }],
    ['docker-archive:x.tar:@12', { transport: 'docker-archive', path: 'x.tar', tag: '@12' }],
  ])('%s', (text, expected) => {
    expect(parseReference(text)).toEqual(expected);
    expect(formatReference(parseReference(text))).toBe(text);
  });
});

describe('the name of a registry', () => {
  it.each([
    ['docker.io', 'registry-1.docker.io', 'docker.io'],
    ['https://index.docker.io/v1/', 'registry-1.docker.io', 'docker.io'],
    ['Reg.Example.com:5000', 'reg.example.com:5000', 'reg.example.com:5000'],
    ['https://reg.example.com/v2/', 'reg.example.com', 'reg.example.com'],
    ['[::1]:5000', '[::1]:5000', '[::1]:5000'],
    ['localhost', 'localhost', 'localhost'],
  ])('%s is %s', (text, registry, name) => {
    expect(parseRegistry(text)).toEqual({ registry, name });
  });

  it.each(['', 'h.io/team', 'user:secret@h.io', 'h.io:0', 'h.io:x', 'a b', 'https://', '-h', '[::g]'])(
    'is not %j',
    (text) => {
      expect(() => parseRegistry(text)).toThrow(RafterError);
    },
  );
});
