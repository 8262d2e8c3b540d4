// The JavaScript engine component: takes one bundle, then handles requests with it. See world.wit for the contract.

import { readAll } from "./web/body.js";
import { authorsFrames, describeError, write } from "./web/console.js";
import { install } from "./web/globals.js";
import { Request } from "./web/request.js";
import { Response, responseBody, responseHead } from "./web/response.js";

const WORK_LEFT = 0x10000; // added to the status: `settle` has something to do
const FAILED = 0;
const NOTHING = new Uint8Array(0);
const NO_HANDLER =
  "the bundle has no handler: export default { async fetch(request, env, ctx) { ... } }, " +
  'or call addEventListener("fetch", ...) while it loads';

const encoder = new TextEncoder();
const decoder = new TextDecoder();

install();

let handler = null; // (request, env, context) => Response or a promise of one
let env = {};
let waiting = []; // what ctx.waitUntil was given during the present request

class ExecutionContext {
  waitUntil(promise) {
    waiting.push(promise);
  }

  passThroughOnException() {} // accepted: there is no origin behind a function to pass through to
}

class FetchEvent extends Event {
  #response = null;

  constructor(request) {
    super("fetch");
    this.request = request;
  }

  respondWith(response) {
    if (this.#response !== null) throw new DOMException("respondWith was called already", "InvalidStateError");
    this.#response = Promise.resolve(response);
  }

  waitUntil(promise) {
    waiting.push(promise);
  }

  passThroughOnException() {}

  static responseOf(event) {
    if (event.#response === null) throw new TypeError("the fetch listener returned without calling event.respondWith");
    return event.#response;
  }
}

const nativeAddEventListener = globalThis.addEventListener;

globalThis.FetchEvent = FetchEvent;
globalThis.addEventListener = (type, listener, options) => {
  if (type !== "fetch") return nativeAddEventListener.call(globalThis, type, listener, options);
  const call = typeof listener === "function" ? listener : (event) => listener.handleEvent(event);
  handler = (request) => {
    const event = new FetchEvent(request);
    call.call(globalThis, event);
    return FetchEvent.responseOf(event);
  };
};

function problem(error) {
  if (!(error instanceof Error)) return { name: "", message: String(error), stack: "" };
  return {
    name: `${error.name}`,
    message: `${error.message}`,
    stack: authorsFrames(error),
    line: error.lineNumber ?? null,
    column: error.columnNumber ?? null,
  };
}

export function init(source, environment) {
  let error = null;
  try {
    env = JSON.parse(decoder.decode(environment));
    const module = (0, eval)(`${decoder.decode(source)}\n//# sourceURL=function.js`);
    const exported = module?.default;
    if (typeof exported?.fetch === "function") {
      handler = (request, env, context) => exported.fetch(request, env, context);
    }
    if (handler === null) throw new TypeError(NO_HANDLER);
  } catch (thrown) {
    error = problem(thrown);
  }
  return encoder.encode(JSON.stringify({ error }));
}

// The bindings run in a global of their own, whose Uint8Array is not the one that functions know.
function ownBytes(message, start) {
  const bytes = new Uint8Array(message.length - start);
  bytes.set(message.subarray(start));
  return bytes;
}

// Answers at once where nothing has to be waited for: a promise costs more here than most of a small function.
export function handle(headLength, message) {
  waiting = [];
  try {
    const lines = decoder.decode(message.subarray(0, headLength)).split("\n");
    const request = Request.incoming(lines, message.length > headLength ? ownBytes(message, headLength) : null);
    const response = handler(request, env, new ExecutionContext());
    return response instanceof Response ? answered(response) : Promise.resolve(response).then(answered, failure);
  } catch (error) {
    return failure(error);
  }
}

function answered(response) {
  try {
    return reply(response);
  } catch (error) {
    return failure(error);
  }
}

function reply(response) {
  if (!(response instanceof Response)) throw new TypeError("the fetch handler did not return a Response");
  if (response.status === 0) throw new TypeError("the fetch handler returned Response.error()");
  const source = responseBody(response).take();
  if (source instanceof ReadableStream) return readAll(source).then((bytes) => envelope(response, bytes)).catch(failure);
  return envelope(response, typeof source === "string" ? encoder.encode(source) : (source ?? NOTHING));
}

function envelope(response, body) {
  const status = waiting.length ? response.status + WORK_LEFT : response.status;
  return [status, responseHead(response), body];
}

function failure(error) {
  return [FAILED, NOTHING, encoder.encode(JSON.stringify(problem(error)))];
}

export async function settle() {
  while (waiting.length) {
    const batch = waiting;
    waiting = [];
    for (const { reason } of await Promise.allSettled(batch)) {
      if (reason !== undefined) {
        write("error", [`Uncaught (in waitUntil) ${reason instanceof Error ? describeError(reason) : String(reason)}`]);
      }
    }
  }
}
