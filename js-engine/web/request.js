// Request, as https://fetch.spec.whatwg.org/#request-class. One that came over the wire stays the text that it came
// as until somebody looks: a function that only reads `url` pays for nothing else.

import { Body, mixBodyInto } from "./body.js";
import { Headers } from "./headers.js";

const METHOD = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const NORMALIZED = /^(delete|get|head|options|post|put)$/i;
const HEAD_LINES = 2; // method and URL come before the headers

const INCOMING = Symbol("incoming");

let bodyOf;

export class Request {
  #method;
  #url;
  #lines = null; // of an incoming request: headers not looked at yet
  #headers = null;
  #body;
  #signal = null;
  #redirect = "follow";

  constructor(input, init, body) {
    if (input === INCOMING) {
      this.#lines = init;
      this.#method = init[0];
      this.#url = init[1];
      this.#body = body;
      return;
    }
    init ??= {};
    const from = input instanceof Request ? input : null;
    this.#url = from ? from.#url : new URL(`${input}`).href;
    this.#method = methodName(init.method ?? from?.method ?? "GET");
    this.#headers = new Headers(init.headers ?? from?.headers);
    this.#signal = init.signal ?? from?.signal ?? null;
    this.#redirect = init.redirect ?? from?.redirect ?? "follow";
    this.#body = this.#takeBody(init, from);
    if (this.#body.type) Headers.setDefault(this.#headers, "content-type", this.#body.type);
  }

  #takeBody(init, from) {
    const given = init.body !== undefined && init.body !== null;
    if (given && (this.#method === "GET" || this.#method === "HEAD")) {
      throw new TypeError(`a ${this.#method} request cannot have a body`);
    }
    if (given) return Body.from(init.body);
    return new Body(from ? from.#body.take() : null, null);
  }

  static {
    bodyOf = (request) => request.#body;
  }

  // lines: method, URL, then name and value of each header by turns; bytes: the body, or null
  static incoming(lines, bytes) {
    return new Request(INCOMING, lines, new Body(bytes, null));
  }

  get method() {
    return this.#method;
  }

  get url() {
    return this.#url;
  }

  get headers() {
    return (this.#headers ??= Headers.fromLines(this.#lines, HEAD_LINES));
  }

  get signal() {
    return (this.#signal ??= new AbortController().signal);
  }

  get redirect() {
    return this.#redirect;
  }

  clone() {
    const copy = new Request(this.#url, { method: this.#method, headers: this.headers, signal: this.#signal });
    copy.#body = this.#body.clone();
    copy.#redirect = this.#redirect;
    return copy;
  }

  get [Symbol.toStringTag]() {
    return "Request";
  }
}

function methodName(method) {
  method = `${method}`;
  if (!METHOD.test(method) || /^(connect|trace|track)$/i.test(method)) {
    throw new TypeError(`Request: not a method that can be sent: ${JSON.stringify(method)}`);
  }
  return NORMALIZED.test(method) ? method.toUpperCase() : method;
}

mixBodyInto(Request.prototype, (request) => bodyOf(request));
