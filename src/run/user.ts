import { RafterError } from '../errors.js';
import { readTextInRoot } from './rooted-path.js';

/** Most bytes of a container's /etc/passwd and of its /etc/group. */
const MAX_ACCOUNT_FILE = 8 << 20;
/** Highest user and group id that Docker takes. */
const MAX_ID = 0x7fffffff;

const BY_NUMBER = 'an id needs no entry there, as in --user 1000:1000';

/** Who a container's process runs as. */
export interface ContainerUser {
  uid: number;
  gid: number;
  /** Supplementary groups; the primary one is among them, so that a file's group permissions cannot be dodged. */
  additionalGids: number[];
  /** Home directory from /etc/passwd, `/` for a user that is not in it. */
  home: string;
}

interface Account {
  name: string;
  uid: number;
  gid: number;
  home: string;
}

interface Group {
  name: string;
  gid: number;
  members: string[];
}

/**
 * Finds the user that `text` (`''`, `name`, `uid`, `name:group`, `uid:gid`, ...) means in the container's tree, by
 * Docker's rules: digits are always an id, which need not be in the files; no text means uid 0; supplementary groups
 * come from /etc/group only if no group is named. NOT_FOUND if a name is in neither file, USAGE if an id is out of
 * range.
 */
export function resolveUser(root: string, text: string): ContainerUser {
  const colon = text.indexOf(':');
  const userText = colon < 0 ? text : text.slice(0, colon);
  const groupText = colon < 0 ? '' : text.slice(colon + 1);

  const wantedUid = userText === '' ? 0 : parseId(userText, 'user');
  const account = readAccounts(root).find(({ name, uid }) =>
    wantedUid === undefined ? name === userText : uid === wantedUid,
  );
  if (account === undefined && wantedUid === undefined)
    throw new RafterError('NOT_FOUND', `user '${userText}' is not in the image's /etc/passwd`, {
      hint: BY_NUMBER,
    });
  const uid = account?.uid ?? wantedUid!;
  const home = account?.home || '/';

  if (groupText !== '') {
    const gid = parseId(groupText, 'group') ?? readGroups(root).find(({ name }) => name === groupText)?.gid;
    if (gid === undefined)
      throw new RafterError('NOT_FOUND', `group '${groupText}' is not in the image's /etc/group`, {
        hint: BY_NUMBER,
      });
    return { uid, gid, additionalGids: [gid], home };
  }
  const gid = account?.gid ?? 0;
  const groups = account === undefined ? [] : readGroups(root);
  const memberOf = groups.filter(({ members }) => members.includes(account!.name)).map((group) => group.gid);
  return { uid, gid, additionalGids: [...new Set([gid, ...memberOf])], home };
}

/** The id if `text` is a number, undefined if it is a name. */
function parseId(text: string, what: 'user' | 'group'): number | undefined {
  if (!/^\d+$/.test(text)) return undefined;
  const id = Number(text);
  if (id > MAX_ID) throw new RafterError('USAGE', `${what} id ${text} is above ${MAX_ID}`);
  return id;
}

/** passwd(5): name:password:uid:gid:comment:home:shell. Lines with anything else are passed over. */
function readAccounts(root: string): Account[] {
  return readRecords(root, '/etc/passwd').flatMap(([name = '', , uid = '', gid = '', , home = '']) =>
    name !== '' && isId(uid) && isId(gid) ? [{ name, uid: Number(uid), gid: Number(gid), home }] : [],
  );
}

/** group(5): name:password:gid:member,member. */
function readGroups(root: string): Group[] {
  return readRecords(root, '/etc/group').flatMap(([name = '', , gid = '', members = '']) =>
    name !== '' && isId(gid) ? [{ name, gid: Number(gid), members: members.split(',') }] : [],
  );
}

const isId = (text: string) => /^\d+$/.test(text) && Number(text) <= MAX_ID;

function readRecords(root: string, path: string): string[][] {
  const text = readTextInRoot(root, path, MAX_ACCOUNT_FILE) ?? '';
  return text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => line.split(':'));
}
