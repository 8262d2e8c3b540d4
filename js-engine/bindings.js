// The engine's side of world.wit, by hand: what componentize-js would generate copies each message twice, and spends
// more on a small request than the function does. It is a script of the engine's own global, evaluated before entry.js.
//
// The engine gives: `$bindings` [memory, allocate, release, imports...], `contentGlobal` (the global that functions
// know), `$source_mod` (the exports of entry.js), `defineBuiltinModule`. It expects: `export_<name>` for each export,
// which answers a promise, and `bindExports`. What `allocate` gives here is freed after the call; what the host
// allocated to give it to us is ours to release.

const { Promise, TextDecoder, TextEncoder, Uint8Array } = contentGlobal;
const [memory, allocate, release, ...imports] = $bindings;
const [hostLog, hostStartFetch, readFetch, cancelFetch, setTimer, refuseTimer, ...hostAnswers] = imports;
const [hostKeepValue, hostTakeBody, hostComputeCrypto] = hostAnswers;
delete globalThis.$bindings;

const decoder = new TextDecoder();
const encoder = new TextEncoder();
const DONE = Promise.resolve();
const ANSWER_WORDS = 6;
const EVENT_WORDS = 4;
const FAILED = 5; // the kind of an event
const EVENT_ROOM_BYTES = 8 * 1024; // platform_calls.EVENT_ROOM_BYTES
const NO_ANSWER = 1; // a status that none has
const FAILURE = 0; // likewise statuses
const SETTLED = 4;
const STATUS_BITS = 0xffff;
const WORK_LEFT = 0x10000; // added to the status
const MORE_ANSWERS = 0x80000; // added to the status: `next` tells another one
const HAS_KV = 1; // of what is granted
const REJECTED_WORD_AT = 24; // rejections.mjs
const UTF8_BYTES_MAX = 3; // of one UTF-16 code unit

let source; // the exports of entry.js
let words; // the exchange: the numbers of an answer,
let rejectedWord; // how many promises are rejected that nobody handles
let eventWords; // those of what the host answers,
let room; // and what is left after them
let roomAt;
let exchangeAt;
let eventRoom; // after the exchange: events lie here that fit, and messages to the host
let eventRoomAt;
const untold = []; // answers that came with another one

// Memory never moves, so a view stays true when it grows: the exchange is looked at through one for ever.
function bytesAt(at, length) {
  return new Uint8Array(memory.buffer, at, length);
}

function textAt(at, length) {
  return decoder.decode(bytesAt(at, length));
}

function given(at, length) {
  const text = textAt(at, length);
  release(at, length, 1);
  return text;
}

// A copy, which belongs to the function.
function ownBytes(at, length) {
  const bytes = new Uint8Array(length);
  bytes.set(bytesAt(at, length));
  return bytes;
}

// Puts text or bytes into the exchange after `used` bytes, or into memory of their own where they might not fit, and
// notes place and length as words `n` and `n + 1` of the answer. Returns how much of the exchange is used now.
function put(value, n, used) {
  let length = value.length;
  let at = roomAt + used;
  if (typeof value === "string") {
    if (used + length * UTF8_BYTES_MAX > room.length) return put(encoder.encode(value), n, used);
    if (length) length = encoder.encodeInto(value, used ? room.subarray(used) : room).written;
    used += length;
  } else if (used + length > room.length) {
    at = allocate(0, 0, 1, length);
    bytesAt(at, length).set(value);
  } else {
    room.set(value, used);
    used += length;
  }
  words[n] = at;
  words[n + 1] = length;
  return used;
}

// The answer of a call: head and body are text or bytes. While the host is elsewhere there may be several.
function answer(call, status, head, body) {
  if (words[0] !== NO_ANSWER) {
    untold.push([call, status, head, body]);
    words[0] |= MORE_ANSWERS;
    return;
  }
  words[1] = call;
  put(body, 4, put(head, 2, 0));
  words[0] = status;
}

// Adds to an answer that the host has not seen yet that work was left; false where there is none of the call, or a failure.
function keepOpen(call) {
  if (words[0] !== NO_ANSWER && words[1] === call) {
    if (!hasSucceeded(words[0])) return false;
    words[0] |= WORK_LEFT;
    return true;
  }
  const told = untold.find(([number, status]) => number === call && hasSucceeded(status));
  if (told === undefined) return false;
  told[1] |= WORK_LEFT;
  return true;
}

function hasSucceeded(status) {
  const code = status & STATUS_BITS;
  return code !== FAILURE && code !== SETTLED;
}

// Hands bytes over for the length of a call of the host. Not through the exchange: it may hold an answer already.
function lend(parts, use) {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const at = allocate(0, 0, 1, length);
  let end = at;
  for (const part of parts) {
    bytesAt(end, part.length).set(part);
    end += part.length;
  }
  const result = use(at, length);
  release(at, length, 1);
  return result;
}

function log(level, text) {
  lend([encoder.encode(text)], (at, length) => hostLog(level, at, length));
}

function lendMessage(head, body, use) {
  if (body.length === 0 && head.length * UTF8_BYTES_MAX <= eventRoom.length) {
    return use(eventRoomAt, encoder.encodeInto(head, eventRoom).written, 0);
  }
  const text = encoder.encode(head);
  return lend([text, body], (at) => use(at, text.length, body.length));
}

function startFetch(head, body) {
  return lendMessage(head, body, hostStartFetch);
}

// The bytes after a text that the host has put somewhere: in the room for events, or in memory that is ours to release.
function takeData(at, textLength, dataLength) {
  if (at === eventRoomAt) return eventRoom.slice(textLength, textLength + dataLength);
  const data = ownBytes(at + textLength, dataLength);
  release(at, textLength + dataLength, 1);
  return data;
}

// What the host has answered: { failed, text, data }.
function told() {
  const [kind, at, textLength, dataLength] = eventWords;
  const text = textLength ? textAt(at, textLength) : "";
  return { failed: kind === FAILED, text, data: takeData(at, textLength, dataLength) };
}

function keepValue(head, body) {
  lendMessage(head, body, hostKeepValue);
  return told();
}

function computeCrypto(head, body) {
  lendMessage(head, body, hostComputeCrypto);
  return told();
}

function takeBody() {
  hostTakeBody();
  return told();
}

function export_init(at, length, sourceAt, sourceLength, envAt, envLength, granted) {
  exchangeAt = at;
  eventRoomAt = at + length;
  eventRoom = bytesAt(eventRoomAt, EVENT_ROOM_BYTES);
  words = new Uint32Array(memory.buffer, at, ANSWER_WORDS);
  eventWords = new Uint32Array(memory.buffer, at + words.byteLength, EVENT_WORDS);
  roomAt = at + words.byteLength + eventWords.byteLength;
  room = bytesAt(roomAt, at + length - roomAt);
  rejectedWord = new Uint32Array(memory.buffer, REJECTED_WORD_AT, 1);
  words[0] = NO_ANSWER;
  answer(0, 0, "", source.init(given(sourceAt, sourceLength), given(envAt, envLength), granted & HAS_KV));
  return DONE;
}

function export_handle(call, at, headLength, bodyLength) {
  const head = textAt(at, headLength);
  const body = bodyLength ? ownBytes(at + headLength, bodyLength) : null;
  if (at !== exchangeAt) release(at, headLength + bodyLength, 1);
  words[0] = NO_ANSWER;
  source.handle(call, head, body);
  return DONE;
}

function export_filterRequest(call, at, headLength, hasBody) {
  const [head] = takeTexts(at, headLength);
  source.filterRequest(call, head, hasBody !== 0);
  return DONE;
}

function export_filterResponse(call, at, requestLength, headLength, hasBody) {
  const [request, head] = takeTexts(at, requestLength, headLength);
  source.filterResponse(call, request, head, hasBody !== 0);
  return DONE;
}

// What a filter is shown: texts that lie one after the other.
function takeTexts(at, ...lengths) {
  let end = at;
  const texts = lengths.map((length) => textAt((end += length) - length, length));
  words[0] = NO_ANSWER;
  if (at !== exchangeAt) release(at, end - at, 1);
  return texts;
}

function export_deliver(call, id, kind, at, textLength, dataLength) {
  words[0] = NO_ANSWER;
  const text = textLength ? textAt(at, textLength) : "";
  source.deliver(call, id, { kind, text, data: takeData(at, textLength, dataLength) });
  return DONE;
}

function export_tick(call) {
  words[0] = NO_ANSWER;
  source.tick(call);
  return DONE;
}

function export_tellRejections() {
  words[0] = NO_ANSWER;
  source.tellRejections();
  rejectedWord[0] = 0;
  return DONE;
}

function export_next() {
  words[0] = NO_ANSWER;
  answer(...untold.shift());
  if (untold.length) words[0] |= MORE_ANSWERS;
  return DONE;
}

defineBuiltinModule("host", {
  answer,
  cancelFetch,
  computeCrypto,
  keepOpen,
  keepValue,
  log,
  readFetch,
  refuseTimer,
  setTimer,
  startFetch,
  takeBody,
});

function bindExports() {
  source = $source_mod;
}
