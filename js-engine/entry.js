// The JavaScript engine component: takes one bundle, then handles requests with it. See world.wit for the contract,
// and bindings.js for who calls the exports.

import { answer } from "host";
import { readAll } from "./web/body.js";
import { authorsFrames, describeError, write } from "./web/console.js";
import { KeyValueNamespace } from "./web/kv.js";
import { forgetFetches } from "./web/fetch.js";
import { install } from "./web/globals.js";
import { Request } from "./web/request.js";
import { Response, headLines, responseParts } from "./web/response.js";

const WORK_LEFT = 0x10000; // added to the status: `settle` has something to do
const FAILED = 0;
const HANDLED = undefined; // the answer was given, there is nothing to wait for
const DONE = 204; // what a scheduled run is answered with
const SCHEDULED = "scheduled\n"; // what the head of a scheduled event begins with: no HTTP method is spelled so
const NO_SCHEDULED =
  "the bundle has no scheduled handler: export default { async scheduled(event, env, ctx) { ... } }, " +
  'or call addEventListener("scheduled", ...) while it loads';
const NO_HANDLER =
  "the bundle has no handler: export default { async fetch(request, env, ctx) { ... } }, " +
  'or call addEventListener("fetch", ...) while it loads';

install();

let handler = null; // (request, env, context) => Response or a promise of one
let scheduledHandler = null; // (event, env, context) => anything, or a promise
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

class ScheduledEvent extends Event {
  constructor(cron, scheduledTime) {
    super("scheduled");
    this.cron = cron;
    this.scheduledTime = scheduledTime;
  }

  waitUntil(promise) {
    waiting.push(promise);
  }

  noRetry() {} // accepted: a run that fails is not tried again
}

const nativeAddEventListener = globalThis.addEventListener;

globalThis.FetchEvent = FetchEvent;
globalThis.ScheduledEvent = ScheduledEvent;
globalThis.addEventListener = (type, listener, options) => {
  if (type !== "fetch" && type !== "scheduled") {
    return nativeAddEventListener.call(globalThis, type, listener, options);
  }
  const call = typeof listener === "function" ? listener : (event) => listener.handleEvent(event);
  if (type === "scheduled") {
    scheduledHandler = (event) => call.call(globalThis, event);
    return;
  }
  handler = (request) => {
    const event = new FetchEvent(request);
    call.call(globalThis, event);
    return FetchEvent.responseOf(event);
  };
};

// Whatever was thrown, as the host tells it: also an object that throws when it is looked at.
function problem(error) {
  try {
    return describe(error);
  } catch {
    return { name: "", message: "(a thrown value that cannot be written as text)", stack: "" };
  }
}

function describe(error) {
  if (!(error instanceof Error)) return { name: "", message: String(error), stack: "" };
  return {
    name: `${error.name}`,
    message: `${error.message}`,
    stack: authorsFrames(error),
    line: error.lineNumber ?? null,
    column: error.columnNumber ?? null,
  };
}

export function init(source, environment, hasKv) {
  let error = null;
  try {
    env = { ...(hasKv ? { KV: new KeyValueNamespace() } : {}), ...JSON.parse(environment) };
    const module = (0, eval)(`${source}\n//# sourceURL=function.js`);
    const exported = module?.default;
    if (typeof exported?.fetch === "function") {
      handler = (request, env, context) => exported.fetch(request, env, context);
    }
    if (typeof exported?.scheduled === "function") {
      scheduledHandler = (event, env, context) => exported.scheduled(event, env, context);
    }
    if (handler === null && scheduledHandler === null) throw new TypeError(NO_HANDLER);
  } catch (thrown) {
    error = problem(thrown);
  }
  return JSON.stringify({ error });
}

// Answers at once where nothing has to be waited for, else returns a promise.
export function handle(head, body) {
  waiting = [];
  forgetFetches();
  if (head.startsWith(SCHEDULED)) return runScheduled(head);
  if (handler === null) return failed(new TypeError(NO_HANDLER));
  try {
    const response = handler(Request.incoming(head, body), env, new ExecutionContext());
    return response instanceof Response ? reply(response) : Promise.resolve(response).then(answered, failed);
  } catch (error) {
    return failed(error);
  }
}

// A scheduled event: its fields and the time that it was due, in milliseconds since the epoch, are lines of the head.
function runScheduled(head) {
  const [, cron, dueMs] = head.split("\n");
  const run = async () => {
    if (scheduledHandler === null) throw new TypeError(NO_SCHEDULED);
    await scheduledHandler(new ScheduledEvent(cron, Number(dueMs)), env, new ExecutionContext());
  };
  return run().then(() => {
    answer(waiting.length ? DONE + WORK_LEFT : DONE, "", "");
  }, failed);
}

function answered(response) {
  try {
    return reply(response);
  } catch (error) {
    return failed(error);
  }
}

function reply(response) {
  if (!(response instanceof Response)) throw new TypeError("the fetch handler did not return a Response");
  const parts = responseParts(response);
  if (parts.status === 0) throw new TypeError("the fetch handler returned Response.error()");
  const source = parts.body.take();
  if (source instanceof ReadableStream) return readAll(source).then((bytes) => give(parts, bytes)).catch(failed);
  return give(parts, source ?? "");
}

function give(parts, body) {
  answer(waiting.length ? parts.status + WORK_LEFT : parts.status, headLines(parts), body);
  return HANDLED;
}

function failed(error) {
  answer(FAILED, "", JSON.stringify(problem(error)));
  return HANDLED;
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
