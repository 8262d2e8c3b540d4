// Makes the engine count the promises that are rejected while nobody handles them, in one word of its memory: one more for
// each, one less where somebody handles it after all. So the host sees when there is something to tell.
//
// The engine's own tracker of rejections keeps such promises in a set that nothing shows (web/rejections.js looks into
// it). It is told of them with five parameters, of which the fourth is 0 for a rejection, and 1 for one that is handled.

import { Reader, withBodies } from "./stop_checks.mjs";

const REJECTED_WORD_AT = 24; // javascript_guest.REJECTED_WORD_AT

const HEADER_BYTES = 8;
const DATA_SECTION = 11;
const CONST = 0x41;
const TRACKERS_OWN = "Adding an unhandled rejected promise to the promise rejection tracker failed";

// i32.const 0; i32.const 0; i32.load; i32.const 1; i32.add; local.get 3; i32.const 1; i32.shl; i32.sub; i32.store
const COUNT = Buffer.from([
  ...[CONST, 0, CONST, 0, 0x28, 2, REJECTED_WORD_AT, CONST, 1, 0x6a],
  ...[0x20, 3, CONST, 1, 0x74, 0x6b, 0x36, 2, REJECTED_WORD_AT],
]);

function signedBytes(number) {
  const bytes = [];
  for (; number < -0x40 || number >= 0x40; number >>= 7) bytes.push((number & 0x7f) | 0x80);
  return Buffer.from([...bytes, number & 0x7f]);
}

function dataSection(module) {
  const reader = new Reader(module, HEADER_BYTES);
  while (!reader.isAtEnd) {
    const id = reader.byte();
    const content = reader.take(reader.number());
    if (id === DATA_SECTION) return new Reader(content);
  }
  throw new Error("the engine has no data");
}

// Where in memory a text is from the start: each segment is `0; i32.const AT; end; its bytes`.
function addressOf(module, text) {
  const reader = dataSection(module);
  for (let segments = reader.number(); segments > 0; segments--) {
    if (reader.byte() !== 0 || reader.byte() !== CONST) throw new Error("the engine has data of a form that is not known here");
    const at = reader.number();
    reader.byte();
    const found = reader.take(reader.number()).indexOf(text);
    if (found >= 0) return at + found;
  }
  throw new Error("the engine has no tracker of rejections");
}

function countedBody(body) {
  const reader = new Reader(body);
  for (let groups = reader.number(); groups > 0; groups--) reader.skipNumbers(2); // locals: how many, of which type
  return Buffer.concat([body.subarray(0, reader.at), COUNT, body.subarray(reader.at)]);
}

// Returns the module with its tracker counting.
export function withRejectionsCounted(module) {
  const mention = Buffer.from([CONST, ...signedBytes(addressOf(module, TRACKERS_OWN))]);
  let trackers = 0;
  const counted = withBodies(module, (body) => {
    if (!body.includes(mention)) return body;
    trackers += 1;
    return countedBody(body);
  });
  if (trackers !== 1) throw new Error(`the engine has ${trackers} trackers of rejections, not 1`);
  return counted;
}
