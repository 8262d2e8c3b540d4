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
];
