// setTimeout and setInterval: https://html.spec.whatwg.org/#timers. The host knows when the first timer of each call is
// due, and enters the engine then; one timer runs each time, so promises go on between two.

import { refuseTimer, setTimer } from "host";
import { describeError, write } from "./console.js";
import { presentCall, takeBack } from "./calls.js";

const DELAY_MS_MAX = 2 ** 30; // 12 days, longer than any request
const TIMERS_MAX = 10_000; // of one call: the host ends it that asks for more
const NO_TIMER = 0x7fffffff;

const clock = performance.now.bind(performance);
const timersById = new Map();
let lastId = 0;

// Where a timer is, or belongs, among those of its call: the first one that is due is first.
function placeOf({ due, id }, among) {
  let low = 0;
  let high = among.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    const other = among[middle];
    if (other.due < due || (other.due === due && other.id < id)) low = middle + 1;
    else high = middle;
  }
  return low;
}

function tellFirst({ timers }) {
  const first = timers[0];
  setTimer(first === undefined ? NO_TIMER : Math.max(0, Math.ceil(first.due - clock())));
}

function insert(timer) {
  const among = timer.call.timers;
  const at = placeOf(timer, among);
  among.splice(at, 0, timer);
  if (at === 0) tellFirst(timer.call);
}

function start(callback, delay, values, repeats) {
  if (typeof callback !== "function") throw new TypeError("a timer needs a function");
  const milliseconds = Math.min(Math.max(Number(delay) || 0, 0), DELAY_MS_MAX);
  const call = presentCall();
  const timer = { id: ++lastId, call, due: clock() + milliseconds, every: repeats ? milliseconds : null, callback, values };
  if (call.isOver && !takeBack(call)) return timer.id; // nobody waits for what it would do
  call.timers ??= [];
  if (call.timers.length >= TIMERS_MAX) refuseTimer();
  timersById.set(timer.id, timer);
  insert(timer);
  return timer.id;
}

function remove(timer) {
  const among = timer.call.timers;
  const at = placeOf(timer, among);
  if (among[at] === timer) among.splice(at, 1);
  timersById.delete(timer.id);
  if (at === 0 && timer.call === presentCall()) tellFirst(timer.call); // the host is told of those of the present call
}

export function setTimeout(callback, delay, ...values) {
  return start(callback, delay, values, false);
}

export function setInterval(callback, delay, ...values) {
  return start(callback, delay, values, true);
}

export function clearTimer(id) {
  const timer = timersById.get(Number(id));
  if (timer !== undefined) remove(timer);
}

// Runs the first timer of a call, if that is due.
export function runTimer(call) {
  const timer = call.timers?.[0];
  if (timer === undefined) return;
  if (timer.due <= clock()) {
    call.timers.shift();
    if (timer.every === null) timersById.delete(timer.id);
    run(timer);
    if (!call.isOver && timersById.has(timer.id)) insert(Object.assign(timer, { due: clock() + timer.every }));
  }
  if (!call.isOver) tellFirst(call);
}

// A callback that throws ends nothing else: it is told in the log, as an unhandled error.
function run({ callback, values }) {
  try {
    callback(...values);
  } catch (error) {
    write("error", [`Uncaught (in a timer) ${error instanceof Error ? describeError(error) : String(error)}`]);
  }
}

export function endTimers(call) {
  for (const timer of call.timers) timersById.delete(timer.id);
  call.timers = null;
}

// https://dom.spec.whatwg.org/#dom-abortsignal-timeout
export function abortAfter(milliseconds) {
  const controller = new AbortController();
  const stop = () => controller.abort(new DOMException("The operation timed out.", "TimeoutError"));
  setTimeout(stop, milliseconds);
  return controller.signal;
}
