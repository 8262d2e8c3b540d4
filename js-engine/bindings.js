// The engine's side of world.wit, by hand: what componentize-js would generate copies each message twice, and spends
// more on a small request than the function does. It is a script of the engine's own global, evaluated before entry.js.
//
// The engine gives: `$bindings` [memory, allocate, release, imports...], `contentGlobal` (the global that functions
// know), `$source_mod` (the exports of entry.js), `defineBuiltinModule`. It expects: `export_<name>` for each export,
// which answers a promise, and `bindExports`. What `allocate` gives here is freed after the call; what the host
// allocated to give it to us is ours to release.

const { Promise, TextDecoder, TextEncoder, Uint8Array } = contentGlobal;
const [memory, allocate, release, ...imports] = $bindings;
const [hostLog, hostStartFetch, readFetch, cancelFetch, hostTakeEvent, hostKeepValue, hostTakeBody] = imports;
delete globalThis.$bindings;

const decoder = new TextDecoder();
const encoder = new TextEncoder();
const DONE = Promise.resolve();
const ANSWER_WORDS = 5;
const EVENT_WORDS = 5;
const FAILED = 5; // the kind of an event
const EVENT_ROOM_BYTES = 8 * 1024; // platform_calls.EVENT_ROOM_BYTES
const MORE_EVENTS = 0x100; // added to the kind of an event that is not the last one,
const NEAR = 0x200; // and of one that came soon
const KINDS = 0xff;
const NO_ANSWER = 1; // a status that none has
const HAS_KV = 1; // of what is granted
const UTF8_BYTES_MAX = 3; // of one UTF-16 code unit

let source; // the exports of entry.js
let words; // the exchange: the numbers of an answer,
let eventWords; // those of an event,
let room; // and what is left after them
let roomAt;
let exchangeAt;
let eventRoom; // after the exchange: events lie here that fit, and messages to the host
let eventRoomAt;

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

// The answer of the present call: head and body are text or bytes.
function answer(status, head, body) {
  words[0] = status;
  put(body, 3, put(head, 1, 0));
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

// What the host has told: { id, kind, more, near, text, data }, or null.
function told() {
  const kind = eventWords[1];
  if (kind === 0) return null;
  const at = eventWords[2];
  const textLength = eventWords[3];
  const dataLength = eventWords[4];
  const isKept = at === eventRoomAt;
  const event = {
    id: eventWords[0],
    kind: kind & KINDS,
    more: (kind & MORE_EVENTS) !== 0,
    near: (kind & NEAR) !== 0,
    text: textLength ? textAt(at, textLength) : "",
    data: isKept ? eventRoom.slice(textLength, textLength + dataLength) : ownBytes(at + textLength, dataLength),
  };
  if (!isKept) release(at, textLength + dataLength, 1);
  return event;
}

// The next event of a subrequest, or null; may wait for it a little.
function takeEvent(waits) {
  hostTakeEvent(waits ? 1 : 0);
  return told();
}

function keepValue(head, body) {
  lendMessage(head, body, hostKeepValue);
  const { kind, text, data } = told();
  return { failed: kind === FAILED, text, data };
}

function takeBody() {
  hostTakeBody();
  const { kind, text, data } = told();
  return { failed: kind === FAILED, text, data };
}

function export_init(at, length, sourceAt, sourceLength, envAt, envLength, granted) {
  exchangeAt = at;
  eventRoomAt = at + length;
  eventRoom = bytesAt(eventRoomAt, EVENT_ROOM_BYTES);
  words = new Uint32Array(memory.buffer, at, ANSWER_WORDS);
  eventWords = new Uint32Array(memory.buffer, at + words.byteLength, EVENT_WORDS);
  roomAt = at + words.byteLength + eventWords.byteLength;
  room = bytesAt(roomAt, at + length - roomAt);
  answer(0, "", source.init(given(sourceAt, sourceLength), given(envAt, envLength), granted & HAS_KV));
  return DONE;
}

// Without a promise where entry.js answers without one: it would cost more than most of a small function.
function export_handle(at, headLength, bodyLength) {
  const head = textAt(at, headLength);
  const body = bodyLength ? ownBytes(at + headLength, bodyLength) : null;
  if (at !== exchangeAt) release(at, headLength + bodyLength, 1);
  words[0] = NO_ANSWER; // what the function may have tampered with is on the way to the answer
  return source.handle(head, body) ?? DONE;
}

function export_filterRequest(at, headLength, hasBody) {
  const [head] = takeTexts(at, headLength);
  return source.filterRequest(head, hasBody !== 0) ?? DONE;
}

function export_filterResponse(at, requestLength, headLength, hasBody) {
  const [request, head] = takeTexts(at, requestLength, headLength);
  return source.filterResponse(request, head, hasBody !== 0) ?? DONE;
}

// What a filter is shown: texts that lie one after the other.
function takeTexts(at, ...lengths) {
  let end = at;
  const texts = lengths.map((length) => textAt((end += length) - length, length));
  words[0] = NO_ANSWER;
  if (at !== exchangeAt) release(at, end - at, 1);
  return texts;
}

function export_settle() {
  return source.settle();
}

defineBuiltinModule("host", { answer, cancelFetch, keepValue, log, readFetch, startFetch, takeBody, takeEvent });

function bindExports() {
  source = $source_mod;
}
