// Response, as https://fetch.spec.whatwg.org/#response-class.

import { Body, mixBodyInto } from "./body.js";
import { Headers } from "./headers.js";

export const NULL_BODY_STATUS = new Set([101, 204, 205, 304]);
export const REDIRECT_STATUS = new Set([301, 302, 303, 307, 308]);
const REASON = /^[\t\x20-\x7e\x80-\xff]*$/;

let partsOf;
const RECEIVED = Symbol("received");
const HEAD_LINES = 2; // status and reason come before the headers

export class Response {
  // One private field, since each costs as much as an object of five. `headers` are made when somebody looks, where
  // none were given.
  #parts;

  constructor(body = null, init = undefined) {
    if (body === RECEIVED) {
      this.#parts = init;
      return;
    }
    this.#parts = { status: 200, statusText: "", headers: null, body: Body.from(body), type: "default" };
    if (init) initialize(this.#parts, init);
  }

  static {
    partsOf = (response) => response.#parts;
  }

  // What came over the wire. Its headers stay `lines` until somebody looks: status, reason, then name and value of each.
  static received(lines, status, body, { url, redirected }) {
    const parts = { status, statusText: lines[1], headers: null, lines, body, type: "basic", url, redirected };
    return new Response(RECEIVED, parts);
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
    Object.assign(response.#parts, { type: "error", status: 0 });
    return response;
  }

  get status() {
    return this.#parts.status;
  }

  get statusText() {
    return this.#parts.statusText;
  }

  get ok() {
    return this.#parts.status >= 200 && this.#parts.status <= 299;
  }

  get headers() {
    const parts = this.#parts;
    if (parts.headers === null) {
      parts.headers = parts.lines === undefined ? new Headers() : Headers.fromLines(parts.lines, HEAD_LINES);
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
export function headLines({ headers, lines, body }) {
  if (headers === null && lines !== undefined) return Headers.toLines(Headers.fromLines(lines, HEAD_LINES));
  if (headers !== null) return Headers.toLines(headers);
  return body.type === null ? "" : `content-type: ${body.type}\r\n`;
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
