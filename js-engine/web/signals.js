// AbortSignal.abort and AbortSignal.any, as https://dom.spec.whatwg.org/#interface-AbortSignal.
//
// A signal that follows others is kept by them while somebody listens to it, and no longer: one of them may live as long
// as the instance, and be followed for each request.

const { addEventListener: add, removeEventListener: remove } = EventTarget.prototype;
const { get: onabort, set: setOnabort } = Object.getOwnPropertyDescriptor(AbortSignal.prototype, "onabort");

const SWEEP_MIN = 32; // followers of a signal; those that are gone are looked for when there are twice as many as stayed

const following = new WeakMap(); // a signal of `any` -> { controller, sources, ref, listeners }
const followers = new WeakMap(); // a source -> { refs, listened, sweepAt }

export function abort(reason) {
  const controller = new AbortController();
  controller.abort(reason);
  return controller.signal;
}

// The engine's own gives the reason of a signal as a stray number.
export function any(signals) {
  const given = [...signals];
  if (given.some((source) => !(source instanceof AbortSignal))) throw new TypeError("AbortSignal.any: expected signals");
  const aborted = given.find((source) => source.aborted);
  if (aborted) return abort(aborted.reason);
  const controller = new AbortController();
  const { signal } = controller;
  const sources = new Set(given.flatMap((source) => [...(following.get(source)?.sources ?? [source])]));
  const follower = { controller, sources, ref: new WeakRef(signal), listeners: new Set() };
  following.set(signal, follower);
  for (const source of sources) follow(source, follower);
  return signal;
}

function follow(source, { ref }) {
  let all = followers.get(source);
  if (all === undefined) {
    followers.set(source, (all = { refs: new Set(), listened: new Set(), sweepAt: SWEEP_MIN }));
    add.call(source, "abort", () => abortFollowers(source, all), { once: true });
  }
  if (all.refs.size >= all.sweepAt) {
    for (const each of all.refs) if (each.deref() === undefined) all.refs.delete(each);
    all.sweepAt = Math.max(SWEEP_MIN, 2 * all.refs.size);
  }
  all.refs.add(ref);
}

function abortFollowers(source, { refs }) {
  for (const ref of [...refs]) {
    const signal = ref.deref();
    if (signal === undefined) continue;
    const { controller, sources } = following.get(signal);
    for (const each of sources) followers.get(each).refs.delete(ref);
    letGo(signal);
    controller.abort(source.reason);
  }
}

function hold(signal) {
  for (const source of following.get(signal).sources) followers.get(source).listened.add(signal);
}

function letGo(signal) {
  for (const source of following.get(signal).sources) followers.get(source).listened.delete(signal);
}

// What a listener is known by, as https://dom.spec.whatwg.org/#concept-event-listener: `onabort` is one, too.
function listens(signal, type, listener) {
  const follower = type === "abort" && listener !== null && !signal.aborted ? following.get(signal) : undefined;
  if (follower === undefined) return;
  if (follower.listeners.add(listener).size === 1) hold(signal);
}

function listensNoMore(signal, type, listener) {
  const follower = type === "abort" ? following.get(signal) : undefined;
  if (follower?.listeners.delete(listener) && follower.listeners.size === 0) letGo(signal);
}

export const LISTENED = {
  addEventListener(type, listener, ...more) {
    add.call(this, type, listener, ...more);
    listens(this, `${type}`, listener ?? null);
  },
  removeEventListener(type, listener, ...more) {
    remove.call(this, type, listener, ...more);
    listensNoMore(this, `${type}`, listener);
  },
};

export const ONABORT = {
  configurable: true,
  enumerable: true,
  get() {
    return onabort.call(this);
  },
  set(listener) {
    setOnabort.call(this, listener);
    if (typeof listener === "function") listens(this, "abort", ONABORT);
    else listensNoMore(this, "abort", ONABORT);
  },
};
