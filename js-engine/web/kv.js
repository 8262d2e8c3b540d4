// env.KV, in the form of Workers KV. The host keeps the entries; each operation is one call of it.

import { keepValue } from "host";
import { Body } from "./body.js";

const decoder = new TextDecoder();
const NOTHING = new Uint8Array(0);
const LIST_KEYS_MAX = 1000;
const KEYS_AT_ONCE_MAX = 100;

function operate(head, bytes = NOTHING) {
  const answer = keepValue(JSON.stringify(head), bytes);
  if (answer.failed) throw new Error(`KV ${head.operation}: ${answer.text}`);
  return answer;
}

const READERS = {
  text: (bytes) => decoder.decode(bytes),
  json: (bytes) => JSON.parse(decoder.decode(bytes)),
  arrayBuffer: (bytes) => bytes.buffer,
  stream: (bytes) => new Body(bytes, null).stream(),
};

function reader(options) {
  const type = (typeof options === "string" ? options : options?.type) ?? "text";
  if (!Object.hasOwn(READERS, type)) throw new TypeError(`KV: type must be one of ${Object.keys(READERS)}, not ${type}`);
  return READERS[type];
}

// JSON would make null of what is no number, and null means "for ever".
function seconds(name, value) {
  if (value === undefined || value === null || Number.isFinite(value)) return value;
  throw new TypeError(`KV put: ${name}: must be a number of seconds`);
}

// Several keys are asked for as in Workers KV: a Map has what there is of each.
async function ofEach(keys, get) {
  if (keys.length > KEYS_AT_ONCE_MAX) throw new TypeError(`KV get: ${KEYS_AT_ONCE_MAX} keys at once at most`);
  const found = new Map();
  for (const key of keys) found.set(`${key}`, await get(`${key}`));
  return found;
}

export class KeyValueNamespace {
  async get(key, options) {
    if (Array.isArray(key)) return ofEach(key, (each) => this.get(each, options));
    return (await this.getWithMetadata(key, options)).value;
  }

  async getWithMetadata(key, options) {
    if (Array.isArray(key)) return ofEach(key, (each) => this.getWithMetadata(each, options));
    const read = reader(options);
    const { text, data } = operate({ operation: "get", key: `${key}` });
    const found = JSON.parse(text);
    if (found === null) return { value: null, metadata: null };
    return { value: read(data), metadata: found.metadata };
  }

  async put(key, value, { expiration, expirationTtl, metadata } = {}) {
    if (value === null || value === undefined) throw new TypeError("KV put: a value is text, bytes or a stream");
    const ends = { expiration: seconds("expiration", expiration), expirationTtl: seconds("expirationTtl", expirationTtl) };
    operate({ operation: "put", key: `${key}`, ...ends, metadata }, await Body.from(value).bytes());
  }

  async delete(key) {
    operate({ operation: "delete", key: `${key}` });
  }

  async list({ prefix = "", limit = LIST_KEYS_MAX, cursor = "" } = {}) {
    const { text } = operate({ operation: "list", prefix: `${prefix ?? ""}`, limit, cursor: `${cursor ?? ""}` });
    return JSON.parse(text);
  }

  get [Symbol.toStringTag]() {
    return "KvNamespace";
  }
}
