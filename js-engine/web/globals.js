// Puts our classes in the place of the engine's, once, when the component is built (not for each instance).

import { URLPattern } from "urlpattern-polyfill/urlpattern";
import { console } from "./console.js";
import { SUBTLE } from "./crypto.js";
import { fetch } from "./fetch.js";
import { Headers } from "./headers.js";
import { Request } from "./request.js";
import { Response } from "./response.js";
import { LISTENED, ONABORT, abort, any } from "./signals.js";
import { SMALL, timeOrigin } from "./small.js";
import { TextDecoderStream, TextEncoderStream, blobStream, iterate, streamFrom } from "./streams.js";
import { abortAfter, clearTimer, setInterval, setTimeout } from "./timers.js";

function define(target, members) {
  for (const [name, value] of Object.entries(members)) {
    Object.defineProperty(target, name, { value, writable: true, configurable: true, enumerable: false });
    // Bundling renames a class that speaks of itself, and authors see the name in their logs.
    if (typeof value === "function") Object.defineProperty(value, "name", { value: name, configurable: true });
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
    URLPattern,
    clearInterval: clearTimer,
    clearTimeout: clearTimer,
    console,
    fetch,
    navigator: { userAgent: "Skerry" },
    setInterval,
    setTimeout,
  });
  for (const [target, members] of SMALL) define(target, members);
  Object.defineProperty(performance, "timeOrigin", { get: timeOrigin, configurable: true, enumerable: true });
  define(SubtleCrypto.prototype, SUBTLE);
  define(AbortSignal, { abort, any, timeout: abortAfter });
  define(Blob.prototype, { stream: blobStream });
  define(AbortSignal.prototype, { ...LISTENED, throwIfAborted });
  Object.defineProperty(AbortSignal.prototype, "onabort", ONABORT);
  if (!ReadableStream.prototype[Symbol.asyncIterator]) {
    define(ReadableStream.prototype, { values: iterate });
    Object.defineProperty(ReadableStream.prototype, Symbol.asyncIterator, { value: iterate, configurable: true });
  }
  if (!ReadableStream.from) define(ReadableStream, { from: streamFrom });
}
