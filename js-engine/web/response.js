// Response, as https://fetch.spec.whatwg.org/#response-class.

import { Body, mixBodyInto } from "./body.js";
import { Headers } from "./headers.js";

const NULL_BODY_STATUS = new Set([101, 204, 205, 304]);
const REDIRECT_STATUS = new Set([301, 302, 303, 307, 308]);
const REASON = /^[\t\x20-\x7e\x80-\xff]*$/;

const encoder = new TextEncoder();
const NO_LINES = new Uint8Array(0);
const TEXT_LINE = encoder.encode("content-type: text/plain;charset=UTF-8\r\n");

let bodyOf;
let headOf; // the header lines of a response for the host

export class Response {
  #status = 200;
  #statusText = "";
  #headers = null; // made when somebody looks, where none were given
  #body;
  #type = "default";

  constructor(body = null, init = undefined) {
    this.#body = Body.from(body);
    if (init) this.#initialize(init);
  }

  #initialize(init) {
    if (init.status !== undefined) this.#status = statusNumber(init.status);
    if (init.statusText !== undefined) this.#statusText = reasonPhrase(init.statusText);
    if (init.headers !== undefined) {
      this.#headers = new Headers(init.headers);
      if (this.#body.type) Headers.setDefault(this.#headers, "content-type", this.#body.type);
    }
    if (this.#body.source !== null && NULL_BODY_STATUS.has(this.#status)) {
      throw new TypeError(`a response of status ${this.#status} cannot have a body`);
    }
  }

  static {
    bodyOf = (response) => response.#body;
    headOf = (response) => (response.#headers === null ? typeLine(response.#body.type) : encodedLines(response.#headers));
  }

  static json(data, init) {
    const text = JSON.stringify(data);
    if (text === undefined) throw new TypeError("Response.json: the value has no JSON form");
    const headers = new Headers(init?.headers);
    Headers.setDefault(headers, "content-type", "application/json");
    return new Response(text, { ...init, headers });
  }

  static redirect(url, status = 302) {
    if (!REDIRECT_STATUS.has(status)) throw new RangeError(`Response.redirect: not a redirect status: ${status}`);
    return new Response(null, { status, headers: { location: new URL(`${url}`).href } });
  }

  static error() {
    const response = new Response();
    response.#type = "error";
    response.#status = 0;
    return response;
  }

  get status() {
    return this.#status;
  }

  get statusText() {
    return this.#statusText;
  }

  get ok() {
    return this.#status >= 200 && this.#status <= 299;
  }

  get headers() {
    if (this.#headers === null) {
      this.#headers = new Headers();
      if (this.#body.type) Headers.setDefault(this.#headers, "content-type", this.#body.type);
    }
    return this.#headers;
  }

  get type() {
    return this.#type;
  }

  get url() {
    return "";
  }

  get redirected() {
    return false;
  }

  clone() {
    const copy = new Response(null, { status: this.#status || 200, statusText: this.#statusText, headers: this.headers });
    copy.#status = this.#status;
    copy.#type = this.#type;
    copy.#body = this.#body.clone();
    return copy;
  }

  get [Symbol.toStringTag]() {
    return "Response";
  }
}

function encodedLines(headers) {
  return encoder.encode(Headers.toLines(headers));
}

function typeLine(type) {
  if (type === null) return NO_LINES;
  return type === "text/plain;charset=UTF-8" ? TEXT_LINE : encoder.encode(`content-type: ${type}\r\n`);
}

function statusNumber(status) {
  const number = Number(status);
  if (!Number.isInteger(number) || number < 200 || number > 599) {
    throw new RangeError(`Response: status must be an integer from 200 to 599, not ${status}`);
  }
  return number;
}

function reasonPhrase(text) {
  text = `${text}`;
  if (!REASON.test(text)) throw new TypeError("Response: statusText has a character that is not allowed");
  return text;
}

mixBodyInto(Response.prototype, (response) => bodyOf(response));

export { bodyOf as responseBody, headOf as responseHead };
