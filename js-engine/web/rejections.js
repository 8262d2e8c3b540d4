// Promises that were rejected while nobody handled them. The engine keeps them in a set of its own, which it shows nobody:
// it goes through that while the component is built, where a promise is in it, and lets us have the iterator.
//
// An iterator goes on with what comes into its set later, unless it has seen the end. So before each look a promise is put
// behind the others, and the iterator stops there.

import { write } from "./console.js";

const { reject } = Promise;
const { then } = Promise.prototype;
const { apply, getPrototypeOf } = Reflect;
const { next } = getPrototypeOf(new Set().values());

let rejected; // the engine's iterator

function handle(promise, onRejected) {
  apply(then, promise, [undefined, onRejected]);
}

// Has the engine hand over its iterator, as soon as the code that asks for it has run: once, when the component is built.
export function listenForRejections() {
  const iterators = getPrototypeOf(getPrototypeOf(new Set().values()));
  const own = iterators[Symbol.iterator];
  const marker = apply(reject, Promise, []);
  iterators[Symbol.iterator] = function () {
    iterators[Symbol.iterator] = own;
    rejected = this;
    handle(marker, () => {});
    return { next: () => ({ done: true }) };
  };
}

// Writes a line for each promise that was rejected since, and takes it for handled.
export function tellRejections() {
  const last = apply(reject, Promise, []);
  for (;;) {
    const { value: promise } = apply(next, rejected, []);
    if (promise === last) break;
    try {
      handle(promise, tell);
    } catch {
      tell("(a promise that cannot be looked at)"); // of a class whose constructor throws
    }
  }
  handle(last, () => {});
}

function tell(reason) {
  write("error", ["Uncaught (in promise)", reason]);
}
