import { parsePaxSparse } from '../../src/convert/tar-sparse.js';
import { lastValues, mergeGlobalRecords, parsePaxRecords, xattrsOf } from '../../src/image/archive/pax.js';
import { parsePaxNumber, parsePaxTime } from '../../src/image/archive/tar-numbers.js';
import { paxRecord } from '../convert/tar-writer.js';
import { fuzz } from '../support/fuzz.js';
import { mutate, pick } from '../support/mutate.js';

const records = [
  paxRecord('path', 'some/where'),
  paxRecord('mtime', '-12.345678901'),
  paxRecord('uid', '70000'),
  paxRecord('SCHILY.xattr.user.a', Buffer.from([0, 10, 61, 255])),
  paxRecord('GNU.sparse.size', '50000'),
  paxRecord('GNU.sparse.map', '0,10,1000,10,2000,10'),
  paxRecord('GNU.sparse.offset', '0'),
  paxRecord('GNU.sparse.numbytes', '10'),
  paxRecord('GNU.sparse.major', '0'),
  paxRecord('comment', ''),
];

fuzz('damaged PAX records', {
  name: 'layer 1: header',
  run: (next) => {
    const chosen = Array.from({ length: 1 + next(6) }, () => pick(records, next));
    const bytes = mutate(Buffer.concat(chosen), next);
    const parsed = parsePaxRecords(bytes, 'layer 1: header');
    const size = parsed.reduce((sum, [key, value]) => sum + key.length + value.length, 0);
    if (size > bytes.length) throw new Error('more than there was');
    const values = lastValues([...mergeGlobalRecords(parsed, parsed), ...parsed]);
    xattrsOf(values);
    parsePaxSparse(parsed, values, 'layer 1: header');
    const [uid, mtime] = [values.get('uid'), values.get('mtime')];
    if (uid) parsePaxNumber(uid, 'layer 1: header: uid');
    if (mtime) parsePaxTime(mtime, 'layer 1: header: mtime');
  },
});
