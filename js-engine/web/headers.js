// Headers, as https://fetch.spec.whatwg.org/#headers-class: the engine's own crosses into its host API for every
// step of an iteration, which costs more than the whole of a small function.

const NAME = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const BAD_VALUE = /[^\t\x20-\x7e\x80-\xff]/;
const EDGES = /^[\t\n\r ]+|[\t\n\r ]+$/g;
const SPACE = 0x20; // what may be trimmed lies at or below it

const known = new Set(["accept", "cache-control", "content-type", "cookie", "location", "set-cookie", "user-agent"]);

function headerName(name) {
  if (known.has(name)) return name;
  name = `${name}`;
  if (!NAME.test(name)) throw new TypeError(`Headers: not a header name: ${JSON.stringify(name)}`);
  return name.toLowerCase();
}

function headerValue(value) {
  value = `${value}`;
  if (value.charCodeAt(0) <= SPACE || value.charCodeAt(value.length - 1) <= SPACE) value = value.replace(EDGES, "");
  if (BAD_VALUE.test(value)) throw new TypeError("Headers: a header value has a character that is not allowed");
  return value;
}

export class Headers {
  #values = new Map(); // lower-case name -> array of values

  constructor(init) {
    if (init === undefined) return;
    if (init === null || typeof init !== "object") throw new TypeError("Headers: expected an object or a sequence of pairs");
    if (init instanceof Headers) {
      for (const [name, values] of init.#values) this.#values.set(name, values.slice());
    } else if (init[Symbol.iterator]) {
      for (const pair of init) {
        const [name, value, ...more] = pair;
        if (value === undefined || more.length) throw new TypeError("Headers: each item must be a pair of name and value");
        this.append(name, value);
      }
    } else {
      for (const name of Reflect.ownKeys(init)) this.append(name, init[name]);
    }
  }

  // For heads that the host has parsed already: `lines` holds name and value by turns, names in lower case.
  static fromLines(lines, start) {
    const headers = new Headers();
    const values = headers.#values;
    for (let i = start; i + 1 < lines.length; i += 2) {
      const earlier = values.get(lines[i]);
      if (earlier) earlier.push(lines[i + 1]);
      else values.set(lines[i], [lines[i + 1]]);
    }
    return headers;
  }

  // Sets a header of ours, known to be well-formed, where the author gave none.
  static setDefault(headers, name, value) {
    if (!headers.#values.has(name)) headers.#values.set(name, [value]);
  }

  // `name: value` lines for the host, one for each value.
  static toLines(headers) {
    let lines = "";
    for (const [name, values] of headers.#values) {
      for (const value of values) lines += `${name}: ${value}\r\n`;
    }
    return lines;
  }

  // Line feed, name, line feed, value for each value: what follows the URL of a request for the host.
  static toFields(headers) {
    let fields = "";
    for (const [name, values] of headers.#values) {
      for (const value of values) fields += `\n${name}\n${value}`;
    }
    return fields;
  }

  append(name, value) {
    name = headerName(name);
    value = headerValue(value);
    const values = this.#values.get(name);
    if (values) values.push(value);
    else this.#values.set(name, [value]);
  }

  delete(name) {
    this.#values.delete(headerName(name));
  }

  get(name) {
    const values = this.#values.get(headerName(name));
    return values ? values.join(", ") : null;
  }

  getSetCookie() {
    return (this.#values.get("set-cookie") ?? []).slice();
  }

  has(name) {
    return this.#values.has(headerName(name));
  }

  set(name, value) {
    this.#values.set(headerName(name), [headerValue(value)]);
  }

  forEach(callback, receiver) {
    for (const [name, value] of this) callback.call(receiver, value, name, this);
  }

  *entries() {
    for (const name of [...this.#values.keys()].sort()) {
      const values = this.#values.get(name) ?? [];
      if (name === "set-cookie") for (const value of values) yield [name, value];
      else yield [name, values.join(", ")];
    }
  }

  *keys() {
    for (const [name] of this.entries()) yield name;
  }

  *values() {
    for (const [, value] of this.entries()) yield value;
  }

  [Symbol.iterator]() {
    return this.entries();
  }

  get [Symbol.toStringTag]() {
    return "Headers";
  }
}
