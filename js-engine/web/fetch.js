// fetch, as https://fetch.spec.whatwg.org/#fetch-method. The host sends and receives; this side waits for many at once,
// follows redirects, and makes of bodies what Response shows.

import { cancelFetch, readFetch, startFetch, takeEvent } from "host";
import { Body } from "./body.js";
import { Headers } from "./headers.js";
import { Request, requestParts } from "./request.js";
import { NULL_BODY_STATUS, REDIRECT_STATUS, receivedResponse } from "./response.js";

const HEAD = 1;
const WHOLE = 2;
const PIECE = 3;
const END = 4;
const REDIRECTS_MAX = 20;
const HEAD_LINES = 2; // status and reason come before the headers
const EVENT_WAIT_MS = 2 ** 31 - 1; // the host takes such a timer for a wait for events

const nativeSetTimeout = globalThis.setTimeout;
const nativeClearTimeout = globalThis.clearTimeout;
const NOTHING = new Uint8Array(0);

const waiting = new Map(); // id -> { resolve, reject } of the next event
let timer = null;

// Forgets what an earlier request left behind: the host has ended it.
export function forgetFetches() {
  if (timer !== null) nativeClearTimeout(timer);
  timer = null;
  waiting.clear();
}

function nextEvent(id) {
  timer ??= nativeSetTimeout(deliver, EVENT_WAIT_MS);
  return new Promise((resolve, reject) => waiting.set(id, { resolve, reject }));
}

function deliver() {
  timer = null;
  for (let event = takeEvent(); event !== null; event = takeEvent()) {
    const waiter = waiting.get(event.id);
    waiting.delete(event.id);
    if (event.kind > END) waiter?.reject(new TypeError(`fetch: ${event.text}`));
    else waiter?.resolve(event);
  }
  if (waiting.size) timer ??= nativeSetTimeout(deliver, EVENT_WAIT_MS);
}

export async function fetch(input, init) {
  const request = new Request(input, init);
  const { method, url, headers, body, signal, redirect } = requestParts(request);
  const whole = body.source === null ? NOTHING : await body.bytes();
  return exchange({ method, url, headers: new Headers(headers ?? request.headers), body: whole, signal, redirect });
}

async function exchange(sent) {
  for (let redirects = 0; ; redirects++) {
    const { id, event } = await send(sent);
    const response = received(id, event, sent, redirects > 0);
    const location = REDIRECT_STATUS.has(response.status) ? response.headers.get("location") : null;
    if (location === null || sent.redirect === "manual") return response;
    cancelFetch(id);
    if (sent.redirect === "error") throw new TypeError(`fetch: ${sent.url} redirects, and redirect is "error"`);
    if (redirects === REDIRECTS_MAX) throw new TypeError(`fetch: over ${REDIRECTS_MAX} redirects`);
    sent = redirected(sent, response.status, new URL(location, sent.url));
  }
}

// https://fetch.spec.whatwg.org/#http-redirect-fetch
function redirected(sent, status, url) {
  const headers = new Headers(sent.headers);
  const becomesGet = status === 303 ? sent.method !== "HEAD" : status <= 302 && sent.method === "POST";
  if (becomesGet) for (const name of ["content-encoding", "content-language", "content-type"]) headers.delete(name);
  if (url.origin !== new URL(sent.url).origin) for (const name of ["authorization", "cookie"]) headers.delete(name);
  const change = becomesGet ? { method: "GET", body: NOTHING } : {};
  return { ...sent, headers, url: url.href, ...change };
}

async function send({ method, url, headers, body, signal }) {
  signal?.throwIfAborted();
  const id = startFetch(`${method}\n${withoutFragment(url)}${Headers.toFields(headers)}`, body);
  const stop = () => {
    cancelFetch(id);
    waiting.get(id)?.reject(signal.reason);
    waiting.delete(id);
  };
  signal?.addEventListener("abort", stop, { once: true });
  return { id, event: await nextEvent(id) };
}

function withoutFragment(url) {
  const at = url.indexOf("#");
  return at < 0 ? url : url.slice(0, at);
}

function received(id, event, { url, method, signal }, isRedirected) {
  const lines = event.text.split("\n");
  const status = Number(lines[0]);
  const bodiless = method === "HEAD" || NULL_BODY_STATUS.has(status);
  if (bodiless && event.kind === HEAD) cancelFetch(id);
  const source = bodiless ? null : event.kind === WHOLE ? event.data : bodyStream(id, signal);
  return receivedResponse({
    status,
    statusText: lines[1],
    headers: Headers.fromLines(lines, HEAD_LINES),
    body: new Body(source, null),
    type: "basic",
    url: withoutFragment(url),
    redirected: isRedirected,
  });
}

function bodyStream(id, signal) {
  return new ReadableStream(
    {
      async pull(controller) {
        signal?.throwIfAborted();
        readFetch(id);
        const event = await nextEvent(id);
        if (event.kind === PIECE) controller.enqueue(event.data);
        else controller.close();
      },
      cancel() {
        cancelFetch(id);
      },
    },
    { highWaterMark: 0 },
  );
}
