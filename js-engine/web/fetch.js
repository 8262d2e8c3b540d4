// fetch, as https://fetch.spec.whatwg.org/#fetch-method. The host sends and receives, and tells what has happened; this
// side follows redirects, and makes of bodies what Response shows.

import { cancelFetch, readFetch, startFetch } from "host";
import { Body } from "./body.js";
import { presentCall, takeBack } from "./calls.js";
import { Headers } from "./headers.js";
import { Request, requestParts, requestUrl } from "./request.js";
import { NULL_BODY_STATUS, REDIRECT_STATUS, receivedResponse, statusOf } from "./response.js";

const HEAD = 1;
const WHOLE = 2;
const PIECE = 3;
const FAILED = 5;
const REDIRECTS_MAX = 20;
const CREDENTIALS = ["authorization", "cookie", "proxy-authorization"]; // https://fetch.spec.whatwg.org/#http-redirect-fetch
const NOTHING = new Uint8Array(0);

const waiting = new Map(); // id -> the handlers of the next event: { call, event(event), failed(error) }

function awaitEvent(id, handlers) {
  handlers.call = presentCall();
  if (handlers.call.isOver) takeBack(handlers.call);
  handlers.call.fetches++;
  waiting.set(id, handlers);
}

function taken(id) {
  const handlers = waiting.get(id);
  if (handlers !== undefined) {
    waiting.delete(id);
    handlers.call.fetches--;
  }
  return handlers;
}

// What has happened to a subrequest: { kind, text, data }.
export function deliver(id, event) {
  const handlers = taken(id);
  if (event.kind === FAILED) handlers?.failed(new TypeError(`fetch: ${event.text}`));
  else handlers?.event(event);
}

// The host has ended those of a call that is over.
export function forgetFetches(call) {
  for (const [id, handlers] of waiting) if (handlers.call === call) taken(id);
}

// Few promises and no async functions: each costs about as much as the rest of a step.
export function fetch(input, init) {
  try {
    return started(input, init);
  } catch (error) {
    return Promise.reject(error);
  }
}

function started(input, init) {
  if (init === undefined && typeof input === "string") {
    return exchange({ method: "GET", url: requestUrl(input), headers: null, body: NOTHING, signal: null, redirect: "follow" });
  }
  const request = new Request(input, init);
  const { method, url, headers, body, signal, redirect } = requestParts(request);
  const sent = { method, url, headers: headers ?? request.headers, body: NOTHING, signal, redirect };
  if (body.source === null) return exchange(sent);
  const bytes = body.bytes();
  if (bytes instanceof Uint8Array) return exchange({ ...sent, body: bytes });
  return bytes.then((all) => exchange({ ...sent, body: all }));
}

function exchange(sent) {
  return new Promise((resolve, reject) => step(sent, 0, resolve, reject));
}

// Sends a request, and resolves with its response; or follows where that leads.
function step(sent, redirects, resolve, reject) {
  const { signal } = sent;
  signal?.throwIfAborted();
  const fields = sent.headers === null ? "" : Headers.toFields(sent.headers);
  const id = startFetch(`${sent.method}\n${withoutFragment(sent.url)}${fields}`, sent.body);
  const ending = signal === null ? null : endedBySignal(id, signal);
  awaitEvent(id, {
    event(event) {
      try {
        const response = received(id, event, sent, redirects > 0, ending);
        const next = nextOf(sent, response, redirects);
        if (next === null) return resolve(response);
        ending?.forget();
        cancelFetch(id);
        step(next, redirects + 1, resolve, reject);
      } catch (error) {
        this.failed(error);
      }
    },
    failed(error) {
      ending?.forget();
      cancelFetch(id);
      reject(error);
    },
  });
}

// Ends a subrequest when its signal says so, until it is over: a signal may live much longer.
function endedBySignal(id, signal) {
  const stop = () => {
    cancelFetch(id);
    taken(id)?.failed(signal.reason);
  };
  signal.addEventListener("abort", stop, { once: true });
  return { forget: () => signal.removeEventListener("abort", stop) };
}

function nextOf(sent, response, redirects) {
  const location = REDIRECT_STATUS.has(response.status) ? response.headers.get("location") : null;
  if (location === null || sent.redirect === "manual") return null;
  if (sent.redirect === "error") throw new TypeError(`fetch: ${sent.url} redirects, and redirect is "error"`);
  if (redirects === REDIRECTS_MAX) throw new TypeError(`fetch: over ${REDIRECTS_MAX} redirects`);
  const url = new URL(location, sent.url);
  if (url.username || url.password) throw new TypeError(`fetch: ${withoutFragment(sent.url)} redirects to a URL with credentials`);
  if (!url.hash) url.hash = new URL(sent.url).hash;
  return redirected(sent, response.status, url);
}

// https://fetch.spec.whatwg.org/#http-redirect-fetch
function redirected(sent, status, url) {
  const headers = new Headers(sent.headers ?? undefined);
  const becomesGet = status === 303 ? sent.method !== "HEAD" : status <= 302 && sent.method === "POST";
  if (becomesGet) for (const name of ["content-encoding", "content-language", "content-type"]) headers.delete(name);
  if (url.origin !== new URL(sent.url).origin) for (const name of CREDENTIALS) headers.delete(name);
  const change = becomesGet ? { method: "GET", body: NOTHING } : {};
  return { ...sent, headers, url: url.href, ...change };
}

function withoutFragment(url) {
  const at = url.indexOf("#");
  return at < 0 ? url : url.slice(0, at);
}

function received(id, event, { url, method, signal }, isRedirected, ending) {
  const status = statusOf(event.text);
  const bodiless = method === "HEAD" || NULL_BODY_STATUS.has(status);
  if (bodiless && event.kind === HEAD) cancelFetch(id);
  const streams = !bodiless && event.kind !== WHOLE;
  if (!streams) ending?.forget();
  const source = bodiless ? null : streams ? bodyStream(id, signal, ending) : event.data;
  return receivedResponse(status, event.text, new Body(source, null), { url: withoutFragment(url), redirected: isRedirected });
}

function bodyStream(id, signal, ending) {
  return new ReadableStream(
    {
      pull(controller) {
        signal?.throwIfAborted();
        readFetch(id);
        return new Promise((resolve, reject) => {
          awaitEvent(id, {
            event(event) {
              if (event.kind === PIECE) {
                controller.enqueue(event.data);
              } else {
                ending?.forget();
                controller.close();
              }
              resolve();
            },
            failed(error) {
              ending?.forget();
              reject(error);
            },
          });
        });
      },
      cancel() {
        ending?.forget();
        cancelFetch(id);
      },
    },
    { highWaterMark: 0 },
  );
}
