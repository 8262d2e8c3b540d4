// Request, as https://fetch.spec.whatwg.org/#request-class. One that came over the wire stays the text that it came
// as until somebody looks: a function that only reads `url` pays for nothing else.

import { Body, mixBodyInto } from "./body.js";
import { Headers } from "./headers.js";

const METHOD = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const NORMALIZED = /^(delete|get|head|options|post|put)$/i;
const HEAD_LINES = 2; // method and URL come before the headers

const INCOMING = Symbol("incoming");

const ADDRESSES_MAX = 64; // that are kept,
const ADDRESS_LENGTH_MAX = 256; // each of so many code units
const addresses = new Map(); // text of a URL -> the same, normalized

let bodyOf;
let partsOf;
let isUntouched; // whether nobody has looked at the headers of a request that came over the wire, so that none changed

export class Request {
  // One private field, since each costs as much as an object of seven: method, url, headers, body, signal, redirect;
  // of an incoming request that nobody looked at yet, { head, bytes }.
  #parts;

  constructor(input, init) {
    if (input === INCOMING) {
      this.#parts = init;
      return;
    }
    init ??= {};
    const from = input instanceof Request ? { ...input.#known, headers: input.headers } : null;
    const url = from ? from.url : address(input);
    const method = methodName(init.method ?? from?.method ?? "GET");
    const headers = new Headers(init.headers ?? from?.headers);
    const body = takeBody(method, init, from);
    if (body.type) Headers.setDefault(headers, "content-type", body.type);
    const signal = (init.signal === undefined ? from?.signal : init.signal) ?? null; // null takes one away
    this.#parts = { method, url, headers, body, signal, redirect: init.redirect ?? from?.redirect ?? "follow" };
  }

  get #known() {
    if (this.#parts.head !== undefined) this.#parts = parse(this.#parts);
    return this.#parts;
  }

  static {
    bodyOf = (request) => request.#known.body;
    partsOf = (request) => request.#known;
    isUntouched = (request) => request.#parts.head !== undefined || request.#parts.headers === null;
  }

  // head: lines of method, URL, then name and value of each header by turns; bytes: the body, a Passing, or null
  static incoming(head, bytes) {
    return new Request(INCOMING, { head, bytes });
  }

  get method() {
    return this.#known.method;
  }

  get url() {
    return this.#known.url;
  }

  get headers() {
    const parts = this.#known;
    return (parts.headers ??= Headers.fromLines(parts.lines, HEAD_LINES));
  }

  get signal() {
    return (this.#known.signal ??= new AbortController().signal);
  }

  get redirect() {
    return this.#known.redirect;
  }

  clone() {
    const { url, method, signal, redirect, body } = this.#known;
    const copy = new Request(url, { method, headers: this.headers, signal, redirect });
    copy.#parts.body = body.clone();
    return copy;
  }

  get [Symbol.toStringTag]() {
    return "Request";
  }
}

// The headers stay lines until somebody looks at them, too.
function parse({ head, bytes }) {
  const lines = head.split("\n");
  const body = new Body(bytes, null);
  return { method: lines[0], url: lines[1], lines, headers: null, body, signal: null, redirect: "follow" };
}

// Functions ask for few URLs again and again, and to read one takes the time of two promises.
function address(input) {
  const text = `${input}`;
  const known = addresses.get(text);
  if (known !== undefined) return known;
  const url = new URL(text);
  if (url.username || url.password) throw new TypeError("Request: the URL has credentials: send an authorization header");
  if (addresses.size === ADDRESSES_MAX) addresses.clear();
  if (text.length <= ADDRESS_LENGTH_MAX) addresses.set(text, url.href);
  return url.href;
}

function takeBody(method, init, from) {
  const given = init.body !== undefined && init.body !== null;
  // One that came over the wire with a body may be copied with it, of whatever method it is.
  const has = given || (from !== null && from.method !== method && from.body.source !== null);
  if (has && (method === "GET" || method === "HEAD")) throw new TypeError(`a ${method} request cannot have a body`);
  if (given) return Body.from(init.body);
  return new Body(from ? from.body.take() : null, null);
}

function methodName(method) {
  method = `${method}`;
  if (!METHOD.test(method) || /^(connect|trace|track)$/i.test(method)) {
    throw new TypeError(`Request: not a method that can be sent: ${JSON.stringify(method)}`);
  }
  return NORMALIZED.test(method) ? method.toUpperCase() : method;
}

mixBodyInto(Request.prototype, (request) => bodyOf(request));

export { isUntouched, partsOf as requestParts, address as requestUrl };
