// Response, as https://fetch.spec.whatwg.org/#response-class.

import { Body, mixBodyInto } from "./body.js";
import { Headers } from "./headers.js";

export const NULL_BODY_STATUS = new Set([101, 204, 205, 304]);
export const REDIRECT_STATUS = new Set([301, 302, 303, 307, 308]);
const REASON = /^[\t\x20-\x7e\x80-\xff]*$/;

let partsOf;
const PARTS = Symbol("parts"); // for a response that is made of its parts
const DIGITS = 10;
const ZERO = 0x30;
const HEAD_LINES = 2; // status and reason come before the headers

export class Response {
  // One private field, since each costs as much as an object of five. `headers` are made when somebody looks, where
  // none were given.
  #parts;

  constructor(body = null, init = undefined) {
    if (body === PARTS) {
      this.#parts = init;
      return;
    }
    this.#parts = { status: 200, statusText: "", headers: null, body: Body.from(body), type: "default" };
    if (init) initialize(this.#parts, init);
  }

  static {
    partsOf = (response) => response.#parts;
  }

  // What came over the wire. Its head stays text until somebody looks: lines of status, reason, then name and value of
  // each header.
  static received(status, head, body, { url, redirected }) {
    return new Response(PARTS, { status, statusText: null, headers: null, head, body, type: "basic", url, redirected });
  }

  static json(data, init) {
    const text = JSON.stringify(data);
    if (text === undefined) throw new TypeError("Response.json: the value has no JSON form");
    const body = new Body(text, "application/json");
    const response = new Response(PARTS, { status: 200, statusText: "", headers: null, body, type: "default" });
    if (init) initialize(response.#parts, init);
    return response;
  }

  static redirect(url, status = 302) {
    if (!REDIRECT_STATUS.has(status)) throw new RangeError(`Response.redirect: not a redirect status: ${status}`);
    return new Response(null, { status, headers: { location: new URL(`${url}`).href } });
  }

  static error() {
    const response = new Response();
    Object.assign(response.#parts, { type: "error", status: 0 });
    return response;
  }

  get status() {
    return this.#parts.status;
  }

  get statusText() {
    return (this.#parts.statusText ??= this.#parts.head.split("\n", HEAD_LINES)[1]);
  }

  get ok() {
    return this.#parts.status >= 200 && this.#parts.status <= 299;
  }

  get headers() {
    const parts = this.#parts;
    if (parts.headers === null) {
      parts.headers = parts.head === undefined ? new Headers() : Headers.fromLines(parts.head.split("\n"), HEAD_LINES);
      if (parts.body.type) Headers.setDefault(parts.headers, "content-type", parts.body.type);
    }
    return parts.headers;
  }

  get type() {
    return this.#parts.type;
  }

  get url() {
    return this.#parts.url ?? "";
  }

  get redirected() {
    return this.#parts.redirected ?? false;
  }

  clone() {
    const copy = new Response();
    copy.#parts = { ...this.#parts, headers: new Headers(this.headers), body: this.#parts.body.clone() };
    return copy;
  }

  get [Symbol.toStringTag]() {
    return "Response";
  }
}

function initialize(parts, init) {
  if (init.status !== undefined) parts.status = statusNumber(init.status);
  if (init.statusText !== undefined) parts.statusText = reasonPhrase(init.statusText);
  if (init.headers !== undefined) {
    parts.headers = new Headers(init.headers);
    if (parts.body.type) Headers.setDefault(parts.headers, "content-type", parts.body.type);
  }
  if (parts.body.source !== null && NULL_BODY_STATUS.has(parts.status)) {
    throw new TypeError(`a response of status ${parts.status} cannot have a body`);
  }
}

// The header lines of a response for the host.
export function headLines({ headers, head, body }) {
  if (headers !== null) return Headers.toLines(headers);
  if (head !== undefined) return receivedLines(head.split("\n"));
  return body.type === null ? "" : `content-type: ${body.type}\r\n`;
}

function receivedLines(lines) {
  let text = "";
  for (let i = HEAD_LINES; i + 1 < lines.length; i += 2) text += `${lines[i]}: ${lines[i + 1]}\r\n`;
  return text;
}

// The status in a head that came over the wire.
export function statusOf(head) {
  return DIGITS * (DIGITS * digit(head, 0) + digit(head, 1)) + digit(head, 2);
}

function digit(text, at) {
  return text.charCodeAt(at) - ZERO;
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

mixBodyInto(Response.prototype, (response) => partsOf(response).body);

const { received } = Response;
delete Response.received; // not the function's

export { partsOf as responseParts, received as receivedResponse };
