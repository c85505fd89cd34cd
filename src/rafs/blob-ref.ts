import { BLOB_ID_SIZE, type BlobEntryFields } from './blob-entry.js';

/**
 * Identity object of a blob under construction. Chunks point to it from the moment they are placed; its blob table
 * fields are known when the blob is finished, its id when the whole file has been hashed.
 */
export class BlobRef {
  #fields: Omit<BlobEntryFields, 'id'> | undefined;
  #id: string | undefined;

  /** A ref to a blob that exists already, described as in a bootstrap's blob table. */
  static existing(fields: BlobEntryFields): BlobRef {
    const ref = new BlobRef();
    ref.finish(fields);
    ref.setId(fields.id);
    return ref;
  }

  /** Records everything but the id. Called once, by whoever writes the blob. */
  finish(fields: Omit<BlobEntryFields, 'id'>): void {
    if (this.#fields) throw new Error('this blob is finished already');
    this.#fields = fields;
  }

  /** Records the id: the hex SHA-256 of the whole file. Setting it again to the same value is allowed. */
  setId(id: string): void {
    if (!/^[0-9A-Za-z]+$/.test(id) || id.length > BLOB_ID_SIZE)
      throw new Error(`"${id}" cannot be a blob id`);
    if (this.#id !== undefined && this.#id !== id) throw new Error(`blob ${this.#id} cannot become ${id}`);
    this.#id = id;
  }

  /** The id, or undefined while the blob is not complete. */
  get id(): string | undefined {
    return this.#id;
  }

  /** The blob table fields of the finished blob. A plain Error if it is not finished: that is a mistake of the program. */
  get fields(): BlobEntryFields {
    if (!this.#fields || this.#id === undefined) throw new Error('this blob is not finished');
    return { ...this.#fields, id: this.#id };
  }
}
