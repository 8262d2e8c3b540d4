// The JavaScript engine component: takes one bundle, then handles requests with it. See world.wit for the contract,
// and bindings.js for who calls the exports.

import { answer } from "host";
import { Body, Passing, isPassing, readAll } from "./web/body.js";
import { authorsFrames, describeError, write } from "./web/console.js";
import { KeyValueNamespace } from "./web/kv.js";
import { forgetFetches, noteAnswer } from "./web/fetch.js";
import { install } from "./web/globals.js";
import { Headers } from "./web/headers.js";
import { Request, isUntouched, requestParts } from "./web/request.js";
import { Response, headLines, receivedResponse, responseParts } from "./web/response.js";

const WORK_LEFT = 0x10000; // added to the status: `settle` has something to do
const BODY_STAYS = 0x20000; // likewise: the message keeps the body that it came with
const LET_PASS = 0x40000; // likewise: the function asked for ctx.passThroughOnException
const FAILED = 0;
const GOES_ON = 2; // a filter changes nothing
const GOES_ON_CHANGED = 3; // a filter's answer is a request
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

let handler = null; // (request, env, context) => Response or a promise of one; a filter's also gives Request or nothing
let responseHook = null; // (response, request, env, context) => Response, or nothing, or a promise of one
let scheduledHandler = null; // (event, env, context) => anything, or a promise
let env = {};
let filters = false; // whether the present call is of a filter
let letPass = false; // whether it has asked for ctx.passThroughOnException
let waiting = []; // what ctx.waitUntil was given during the present request

class ExecutionContext {
  waitUntil(promise) {
    waiting.push(promise);
  }

  // Means something in a filter alone: there is no origin behind any other function to pass through to.
  passThroughOnException() {
    letPass = true;
  }
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

  passThroughOnException() {
    letPass = true;
  }

  static responseOf(event) {
    if (event.#response === null && !filters) throw new TypeError("the fetch listener returned without calling event.respondWith");
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
    const owner = typeof exported?.response === "function" ? exported : module;
    if (typeof owner?.response === "function") {
      responseHook = (response, request, env, context) => owner.response(response, request, env, context);
    }
    if (handler === null && scheduledHandler === null) throw new TypeError(NO_HANDLER);
  } catch (thrown) {
    error = problem(thrown);
  }
  return JSON.stringify({ error, seesResponses: responseHook !== null });
}

function begin(isFilter) {
  waiting = [];
  filters = isFilter;
  letPass = false;
  forgetFetches();
}

// Answers at once where nothing has to be waited for, else returns a promise.
export function handle(head, body) {
  begin(false);
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
  return give(parts, source instanceof Passing ? source.bytes() : (source ?? ""));
}

function give(parts, body) {
  tell(parts.status, headLines(parts), body);
  return HANDLED;
}

function tell(status, head, body) {
  noteAnswer();
  answer(waiting.length ? status + WORK_LEFT : status, head, body);
}

function failed(error) {
  answer(letPass ? FAILED + LET_PASS : FAILED, "", JSON.stringify(problem(error)));
  return HANDLED;
}

// A filter sees a request on its way to a backend. As `handle`, it answers at once where it can.
export function filterRequest(head, hasBody) {
  begin(true);
  if (handler === null) return failed(new TypeError(NO_HANDLER));
  const request = Request.incoming(head, hasBody ? new Passing() : null);
  return decided(
    () => handler(request, env, new ExecutionContext()),
    (result) => (result instanceof Response ? reply(result) : passOn(result ?? request, request, hasBody)),
  );
}

// A filter sees the answer to a request, whose own body has passed by then.
export function filterResponse(requestHead, head, hasBody) {
  begin(true);
  const request = Request.incoming(requestHead, null);
  const response = received(head, hasBody);
  return decided(
    () => responseHook(response, request, env, new ExecutionContext()),
    (result) => giveBack(result ?? response, response, hasBody),
  );
}

// Calls a hook, and tells the host what its result comes to.
function decided(call, tellResult) {
  const settled = (result) => {
    try {
      return tellResult(result);
    } catch (error) {
      return failed(error);
    }
  };
  try {
    const result = call();
    return typeof result?.then === "function" ? Promise.resolve(result).then(settled, failed) : settled(result);
  } catch (error) {
    return failed(error);
  }
}

function received(head, hasBody) {
  const body = new Body(hasBody ? new Passing() : null, null);
  return receivedResponse(head, body, { url: "", redirected: false });
}

function passOn(result, request, hasBody) {
  if (!(result instanceof Request)) {
    throw new TypeError("the fetch handler of a filter returned neither a Response, nor a Request, nor nothing");
  }
  if (result === request && isUntouched(request)) {
    tell(GOES_ON, "", "");
    return HANDLED;
  }
  const { method, url, body } = requestParts(result);
  const head = `${method}\n${url}${Headers.toFields(result.headers)}`;
  return withBody(body, result === request, hasBody, (bytes, flags) => tell(GOES_ON_CHANGED + flags, head, bytes));
}

function giveBack(result, response, hasBody) {
  if (!(result instanceof Response)) {
    throw new TypeError("the response hook of a filter returned neither a Response nor nothing");
  }
  const parts = responseParts(result);
  if (parts.status === 0) throw new TypeError("the response hook of a filter returned Response.error()");
  const head = Headers.toLines(result.headers);
  return withBody(parts.body, result === response, hasBody, (bytes, flags) => tell(parts.status + flags, head, bytes));
}

// Tells of a message with its body: the one that it came with where that was left alone, or given back after a look.
function withBody(body, isSame, hadBody, tellMessage) {
  if (isSame || isPassing(body) || (body.source === null && !hadBody)) {
    tellMessage("", BODY_STAYS);
    return HANDLED;
  }
  const source = body.take();
  if (source instanceof ReadableStream) {
    return readAll(source).then((bytes) => tellMessage(bytes, 0)).then(() => HANDLED, failed);
  }
  tellMessage(source ?? "", 0);
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
