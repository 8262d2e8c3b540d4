// The calls of the host that are not over. A call is one request, from its arrival until what it gave to ctx.waitUntil
// is done; an instance has many at once. Whatever the engine does, it does for the call that the host entered it for.
//
// What several requests wait for brings all of them on in the entry of one, and whatever they start then is that one's. So a
// call that has been answered, and has subrequests or timers left, lingers until those that waited beside it are over; and
// one that was answered in this very entry is taken back as something is started. For the host both are work that is left.
//
// Each request has one, so it is a literal: a class with fields costs several times as much. `work` is what ctx.waitUntil
// was given, `letsPass` whether ctx.passThroughOnException was asked for, `fetches` how many wait for an event, and
// `timers` are in timers.js.

import { keepOpen } from "host";

const calls = new Map(); // number -> call, of those that wait for something
let goOn; // with a call that is taken back
const lingering = new Map(); // call -> { others, leave }: the calls that it lingers for, and what ends that

function newCall(number, isFilter) {
  return {
    number,
    isFilter,
    isKept: false,
    isAnswered: false,
    isOver: false,
    letsPass: false,
    work: null,
    timers: null,
    fetches: 0,
  };
}

let present = newCall(0, false); // while a bundle loads: nothing can be waited for
present.isOver = true;

export function presentCall() {
  return present;
}

export function begin(number, isFilter) {
  present = newCall(number, isFilter);
  return present;
}

// A call that will be entered again.
export function keep(call) {
  call.isKept = true;
  calls.set(call.number, call);
}

// Goes on with a call; undefined where it is over.
export function enter(number) {
  if (lingering.size) for (const [call, { leave }] of lingering) if (!hasStarted(call)) leave();
  return (present = calls.get(number));
}

export function end(call) {
  call.isOver = true;
  if (call.isKept) calls.delete(call.number);
  if (lingering.size) for (const { others, leave } of lingering.values()) if (others.delete(call) && !others.size) leave();
}

function hasStarted(call) {
  return call.fetches > 0 || (call.timers !== null && call.timers.length > 0);
}

function othersOf(call) {
  return [...calls.values()].filter((other) => other !== call && !lingering.has(other));
}

// Whether something that a call started may be another's, that waits.
export function mayLinger(call) {
  return hasStarted(call) && othersOf(call).length > 0;
}

// Resolves once nobody waits any more who did when it was called, or nothing is left of what the call started.
export async function linger(call) {
  await new Promise((leave) => lingering.set(call, { others: new Set(othersOf(call)), leave }));
  lingering.delete(call);
}

export function onTakenBack(callback) {
  goOn = callback;
}

// Takes a call back that is over since this entry, where it has been answered well and others wait.
export function takeBack(call) {
  if (calls.size === 0 || !keepOpen(call.number)) return false;
  call.isOver = false;
  keep(call);
  Promise.resolve(call).then(goOn); // by then it has started what it is taken back for
  return true;
}
