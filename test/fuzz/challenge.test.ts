import { parseChallenges } from '../../src/registry/challenge.js';
import { fuzz } from '../support/fuzz.js';
import { mutate, pick } from '../support/mutate.js';

const headers = [
  'Bearer realm="https://auth.example/token",service="registry",scope="repository:a/b:pull,push"',
  'Basic realm="a \\"quoted\\" one", Bearer realm=https://zot.example/token , service=zot',
  'Negotiate, Digest realm="x", nonce="abc=", qop="auth,auth-int", Basic realm=y',
].map((text) => Buffer.from(text));

fuzz('damaged WWW-Authenticate headers', {
  name: 'challenge',
  refusesNothing: true,
  run: (next) => {
    let header = mutate(pick(headers, next), next);
    // Long ones show what takes more than linear time.
    if (next(50) === 0) header = Buffer.concat(Array.from({ length: 500 }, () => header));
    const text = header.toString(pick(['latin1', 'utf8'], next));
    for (const { scheme, params } of parseChallenges(next(2) === 0 ? text : [text, text])) {
      if (scheme !== scheme.toLowerCase() || !/^[!-~]+$/.test(scheme)) throw new Error(`scheme ${scheme}`);
      for (const [key, value] of params) {
        if (!/^[!-~]+$/.test(key) || value.length > text.length) throw new Error(`parameter ${key}`);
      }
    }
  },
});
