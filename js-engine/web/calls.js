// The calls of the host that are not over. A call is one request, from its arrival until what it gave to ctx.waitUntil
// is done; an instance has many at once. Whatever the engine does, it does for the call that the host entered it for.
//
// Each request has one, so it is a literal: a class with fields costs several times as much. `work` is what ctx.waitUntil
// was given, `letsPass` whether ctx.passThroughOnException was asked for, `fetches` how many wait for an event, and
// `timers` are in timers.js.

const calls = new Map(); // number -> call, of those that wait for something

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
  return (present = calls.get(number));
}

export function end(call) {
  call.isOver = true;
  if (call.isKept) calls.delete(call.number);
}
