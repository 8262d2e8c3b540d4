// Members of standards that the engine lacks or has wrong, and that need no class of their own.

const nativeAtob = globalThis.atob;
const nativeBtoa = globalThis.btoa;

// https://url.spec.whatwg.org/#dom-url-parse
function parse(url, base) {
  try {
    return new URL(url, base);
  } catch {
    return null;
  }
}

function canParse(url, base) {
  return parse(url, base) !== null;
}

// https://dom.spec.whatwg.org/#dom-abortsignal-abort
function abort(reason) {
  const controller = new AbortController();
  controller.abort(reason);
  return controller.signal;
}

// https://dom.spec.whatwg.org/#dom-abortsignal-any: the engine's own gives the reason of a signal as a stray number.
function any(signals) {
  const sources = [...signals];
  if (sources.some((source) => !(source instanceof AbortSignal))) throw new TypeError("AbortSignal.any: expected signals");
  const aborted = sources.find((source) => source.aborted);
  if (aborted) return abort(aborted.reason);
  const controller = new AbortController();
  for (const source of sources) {
    source.addEventListener("abort", () => controller.abort(source.reason), { once: true });
  }
  return controller.signal;
}

// https://html.spec.whatwg.org/#atob: the engine's own throw a RangeError.
function withoutRangeError(convert) {
  try {
    return convert();
  } catch (error) {
    if (error instanceof RangeError) throw new DOMException(error.message, "InvalidCharacterError");
    throw error;
  }
}

function atob(data) {
  return withoutRangeError(() => nativeAtob(data));
}

function btoa(data) {
  return withoutRangeError(() => nativeBtoa(data));
}

let origin; // of this instance: the engine's own is when the engine was built

export function timeOrigin() {
  return (origin ??= Date.now() - performance.now());
}

export const SMALL = [
  [globalThis, { atob, btoa }],
  [URL, { canParse, parse }],
  [AbortSignal, { abort, any }],
];
