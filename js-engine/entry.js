// The JavaScript engine component: takes one bundle, then handles requests with it. See world.wit for the contract,
// and bindings.js for who calls the exports.

import { answer } from "host";
import { Body, Passing, isPassing, readAll } from "./web/body.js";
import { stackOf, write } from "./web/console.js";
import { begin, end, enter, keep, linger, mayLinger, onTakenBack, presentCall } from "./web/calls.js";
import { deliver as deliverEvent, forgetFetches } from "./web/fetch.js";
import { install } from "./web/globals.js";
import { Headers } from "./web/headers.js";
import { KeyValueNamespace } from "./web/kv.js";
import { listenForRejections, tellRejections } from "./web/rejections.js";
import { Request, isUntouched, requestParts } from "./web/request.js";
import { Response, headLines, receivedResponse, responseParts, statusOf } from "./web/response.js";
import { endTimers, runTimer } from "./web/timers.js";

const WORK_LEFT = 0x10000; // added to the status: it will be told when that is done
const BODY_STAYS = 0x20000; // likewise: the message keeps the body that it came with
const LET_PASS = 0x40000; // likewise: the function asked for ctx.passThroughOnException
const FAILED = 0;
const GOES_ON = 2; // a filter changes nothing
const GOES_ON_CHANGED = 3; // a filter's answer is a request
const SETTLED = 4; // no answer: what was left is done
const DONE = 204; // what a scheduled run is answered with
const SCHEDULED = "scheduled\n"; // what the head of a scheduled event begins with: no HTTP method is spelled so
const NO_SCHEDULED =
  "the bundle has no scheduled handler: export default { async scheduled(event, env, ctx) { ... } }, " +
  'or call addEventListener("scheduled", ...) while it loads';
const NO_HANDLER =
  "the bundle has no handler: export default { async fetch(request, env, ctx) { ... } }, " +
  'or call addEventListener("fetch", ...) while it loads';

install();
listenForRejections();
onTakenBack(settle);

let handler = null; // (request, env, context) => Response or a promise of one; a filter's also gives Request or nothing
let responseHook = null; // (response, request, env, context) => Response, or nothing, or a promise of one
let scheduledHandler = null; // (event, env, context) => anything, or a promise
let env = {};

class ExecutionContext {
  #call;

  constructor(call) {
    this.#call = call;
  }

  waitUntil(promise) {
    const settled = Promise.allSettled([promise]); // from now on: one that is rejected before the answer is not told twice
    (this.#call.work ??= []).push(settled);
  }

  // Means something in a filter alone: there is no origin behind any other function to pass through to.
  passThroughOnException() {
    this.#call.letsPass = true;
  }
}

class FetchEvent extends Event {
  #context;
  #response = null;

  constructor(request, context) {
    super("fetch");
    this.request = request;
    this.#context = context;
  }

  respondWith(response) {
    if (this.#response !== null) throw new DOMException("respondWith was called already", "InvalidStateError");
    this.#response = Promise.resolve(response);
  }

  waitUntil(promise) {
    this.#context.waitUntil(promise);
  }

  passThroughOnException() {
    this.#context.passThroughOnException();
  }

  static responseOf(event) {
    if (event.#response === null && !presentCall().isFilter) {
      throw new TypeError("the fetch listener returned without calling event.respondWith");
    }
    return event.#response;
  }
}

class ScheduledEvent extends Event {
  #context;

  constructor(cron, scheduledTime, context) {
    super("scheduled");
    this.cron = cron;
    this.scheduledTime = scheduledTime;
    this.#context = context;
  }

  waitUntil(promise) {
    this.#context.waitUntil(promise);
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
  handler = (request, env, context) => {
    const event = new FetchEvent(request, context);
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
    stack: stackOf(error),
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

// Each export answers at once where it can; else it is told later, when the host has entered the engine again.
export function handle(number, head, body) {
  const call = begin(number, false);
  if (head.startsWith(SCHEDULED)) return runScheduled(call, head);
  if (handler === null) return fail(call, new TypeError(NO_HANDLER));
  try {
    const response = handler(Request.incoming(head, body), env, new ExecutionContext(call));
    if (response instanceof Response) return reply(call, response);
    keep(call);
    Promise.resolve(response).then(
      (response) => answered(call, response),
      (error) => fail(call, error),
    );
  } catch (error) {
    fail(call, error);
  }
}

function answered(call, response) {
  try {
    reply(call, response);
  } catch (error) {
    fail(call, error);
  }
}

// A scheduled event: its fields and the time that it was due, in milliseconds since the epoch, are lines of the head.
function runScheduled(call, head) {
  const [, cron, dueMs] = head.split("\n");
  const run = async () => {
    if (scheduledHandler === null) throw new TypeError(NO_SCHEDULED);
    const context = new ExecutionContext(call);
    await scheduledHandler(new ScheduledEvent(cron, Number(dueMs), context), env, context);
  };
  decide(call, run, () => tell(call, DONE, "", ""));
}

// A filter sees a request on its way to a backend.
export function filterRequest(number, head, hasBody) {
  const call = begin(number, true);
  if (handler === null) return fail(call, new TypeError(NO_HANDLER));
  const request = Request.incoming(head, hasBody ? new Passing() : null);
  decide(
    call,
    () => handler(request, env, new ExecutionContext(call)),
    (result) => (result instanceof Response ? reply(call, result) : passOn(call, result ?? request, request, hasBody)),
  );
}

// A filter sees the answer to a request, whose own body has passed by then.
export function filterResponse(number, requestHead, head, hasBody) {
  const call = begin(number, true);
  const request = Request.incoming(requestHead, null);
  const response = received(head, hasBody);
  decide(
    call,
    () => responseHook(response, request, env, new ExecutionContext(call)),
    (result) => giveBack(call, result ?? response, response, hasBody),
  );
}

// Something has happened to a subrequest of a call.
export function deliver(number, id, event) {
  if (enter(number) !== undefined) deliverEvent(id, event);
}

// The first timer of a call is due.
export function tick(number) {
  const call = enter(number);
  if (call !== undefined) runTimer(call);
}

// Promises were rejected that nobody handles.
export { tellRejections };

// Calls a handler, and tells the host what its result comes to.
function decide(call, handle, tellResult) {
  const settled = (result) => {
    try {
      tellResult(result);
    } catch (error) {
      fail(call, error);
    }
  };
  try {
    const result = handle();
    if (typeof result?.then !== "function") return settled(result);
    keep(call);
    Promise.resolve(result).then(settled, (error) => fail(call, error));
  } catch (error) {
    fail(call, error);
  }
}

function reply(call, response) {
  if (!(response instanceof Response)) throw new TypeError("the fetch handler did not return a Response");
  const parts = responseParts(response);
  if (parts.status === 0) throw new TypeError("the fetch handler returned Response.error()");
  const source = parts.body.take();
  if (source instanceof ReadableStream) {
    return readThen(call, source, (bytes) => tell(call, parts.status, headLines(parts), bytes));
  }
  tell(call, parts.status, headLines(parts), source instanceof Passing ? source.bytes() : (source ?? ""));
}

function readThen(call, stream, use) {
  keep(call);
  readAll(stream).then(use).catch((error) => fail(call, error));
}

function tell(call, status, head, body) {
  call.isAnswered = true;
  if (call.work === null && !mayLinger(call)) {
    answer(call.number, status, head, body);
    return finish(call);
  }
  keep(call);
  answer(call.number, status + WORK_LEFT, head, body);
  settle(call);
}

function fail(call, error) {
  if (call.isAnswered) return;
  call.isAnswered = true;
  answer(call.number, call.letsPass ? FAILED + LET_PASS : FAILED, "", JSON.stringify(problem(error)));
  finish(call);
}

// The host ends what a call has not received by then, and forgets its timers.
function finish(call) {
  end(call);
  if (call.fetches) forgetFetches(call);
  if (call.timers !== null) endTimers(call);
}

async function settle(call) {
  while (call.work !== null || mayLinger(call)) {
    const batch = call.work;
    call.work = null;
    if (batch === null) await linger(call);
    else for (const [{ status, reason }] of await Promise.all(batch)) {
      if (status === "rejected") write("error", ["Uncaught (in waitUntil)", reason]);
    }
  }
  answer(call.number, SETTLED, "", "");
  finish(call);
}

function received(head, hasBody) {
  const body = new Body(hasBody ? new Passing() : null, null);
  return receivedResponse(statusOf(head), head, body, { url: "", redirected: false });
}

function passOn(call, result, request, hasBody) {
  if (!(result instanceof Request)) {
    throw new TypeError("the fetch handler of a filter returned neither a Response, nor a Request, nor nothing");
  }
  if (result === request && isUntouched(request)) return tell(call, GOES_ON, "", "");
  const { method, url, body } = requestParts(result);
  const head = `${method}\n${url}${Headers.toFields(result.headers)}`;
  withBody(call, body, result === request, hasBody, (bytes, flags) => tell(call, GOES_ON_CHANGED + flags, head, bytes));
}

function giveBack(call, result, response, hasBody) {
  if (!(result instanceof Response)) {
    throw new TypeError("the response hook of a filter returned neither a Response nor nothing");
  }
  const parts = responseParts(result);
  if (parts.status === 0) throw new TypeError("the response hook of a filter returned Response.error()");
  const head = Headers.toLines(result.headers);
  withBody(call, parts.body, result === response, hasBody, (bytes, flags) => tell(call, parts.status + flags, head, bytes));
}

// Tells of a message with its body: the one that it came with where that was left alone, or given back after a look.
function withBody(call, body, isSame, hadBody, tellMessage) {
  if (isSame || isPassing(body) || (body.source === null && !hadBody)) return tellMessage("", BODY_STAYS);
  const source = body.take();
  if (source instanceof ReadableStream) readThen(call, source, (bytes) => tellMessage(bytes, 0));
  else tellMessage(source ?? "", 0);
}
