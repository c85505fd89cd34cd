/** An element of an XML document. */
export interface XmlElement {
  name: string;
  attributes: Record<string, string>;
  children: (XmlElement | string)[];
}

const NAME = '[A-Za-z_][\\w:.-]*';
const TAG = new RegExp(`^<(/?)(${NAME})((?:\\s+${NAME}="[^"<]*")*)\\s*(/?)>`);
const ENTITIES: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };

/**
 * Reads a document that is well formed, without declarations and comments, and throws at one that is not: tags that do not match,
 * attributes twice, characters that should have been escaped.
 */
export function parseXml(text: string): XmlElement {
  const root: XmlElement = { name: '', attributes: {}, children: [] };
  const open = [root];
  for (let rest = text.trim(); rest !== ''; ) {
    const top = open.at(-1)!;
    if (!rest.startsWith('<')) {
      const [words] = /^[^<]+/.exec(rest)!;
      top.children.push(decode(words));
      rest = rest.slice(words.length);
      continue;
    }
    const [all, end, name, attributes, empty] = TAG.exec(rest) ?? [];
    if (all === undefined) throw new Error(`not a tag: ${rest.slice(0, 60)}`);
    rest = rest.slice(all.length);
    if (end) {
      if (open.pop()!.name !== name) throw new Error(`</${name}> ends <${top.name}>`);
      continue;
    }
    const element: XmlElement = { name: name!, attributes: parseAttributes(attributes!), children: [] };
    top.children.push(element);
    if (!empty) open.push(element);
  }
  const [document, ...more] = root.children;
  if (open.length !== 1 || more.length > 0 || typeof document !== 'object')
    throw new Error(`<${open.at(-1)!.name}> does not end, or there is more than one element`);
  return document;
}

/** All elements of a name below one, in their order. */
export function elementsOf(element: XmlElement, name: string): XmlElement[] {
  return element.children.flatMap((child) =>
    typeof child === 'string' ? [] : [...(child.name === name ? [child] : []), ...elementsOf(child, name)],
  );
}

/** The text in an element and in all below it. */
export function textOf({ children }: XmlElement): string {
  return children.map((child) => (typeof child === 'string' ? child : textOf(child))).join('');
}

function parseAttributes(text: string): Record<string, string> {
  const attributes: Record<string, string> = {};
  for (const [, name, value] of text.matchAll(new RegExp(`(${NAME})="([^"]*)"`, 'g'))) {
    if (name! in attributes) throw new Error(`attribute ${name} twice`);
    attributes[name!] = decode(value!);
  }
  return attributes;
}

function decode(text: string): string {
  return text.replace(/&(\w*)(;?)/g, (all, name: string, end: string) => {
    const character = end && ENTITIES[name];
    if (!character) throw new Error(`${all} in ${text} is no entity`);
    return character;
  });
}
