// Puts our classes in the place of the engine's, once, when the component is built (not for each instance).

import { console, describeError, write } from "./console.js";
import { fetch } from "./fetch.js";
import { Headers } from "./headers.js";
import { Request } from "./request.js";
import { Response } from "./response.js";
import { TextDecoderStream, TextEncoderStream, iterate, streamFrom } from "./streams.js";

// 12 days, longer than any request. The host takes what is longer for something else (world.wit, `take-event`).
const DELAY_MS_MAX = 2 ** 30;

// A callback that throws must not end the event loop with it: it is told in the log, as an unhandled error.
function guarded(native) {
  return (callback, delay, ...values) => {
    if (typeof callback !== "function") throw new TypeError("a timer needs a function");
    return native(() => {
      try {
        callback(...values);
      } catch (error) {
        write("error", [`Uncaught (in a timer) ${error instanceof Error ? describeError(error) : String(error)}`]);
      }
    }, Math.min(delay ?? 0, DELAY_MS_MAX));
  };
}

function define(target, members) {
  for (const [name, value] of Object.entries(members)) {
    Object.defineProperty(target, name, { value, writable: true, configurable: true, enumerable: false });
  }
}

// The engine's own ends the whole call, with nothing that could be caught.
function throwIfAborted() {
  if (this.aborted) throw this.reason;
}

export function install() {
  define(globalThis, {
    Headers,
    Request,
    Response,
    TextDecoderStream,
    TextEncoderStream,
    console,
    fetch,
    navigator: { userAgent: "Skerry" },
    setInterval: guarded(globalThis.setInterval),
    setTimeout: guarded(globalThis.setTimeout),
  });
  define(AbortSignal.prototype, { throwIfAborted });
  if (!ReadableStream.prototype[Symbol.asyncIterator]) {
    define(ReadableStream.prototype, { values: iterate });
    Object.defineProperty(ReadableStream.prototype, Symbol.asyncIterator, { value: iterate, configurable: true });
  }
  if (!ReadableStream.from) define(ReadableStream, { from: streamFrom });
}
