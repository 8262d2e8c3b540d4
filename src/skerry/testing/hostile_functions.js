// Functions that mean harm. Which one this is says its variable HOSTILE, or the path. What each may be answered with
// stands in hostile_functions.py.

const MILLION = 1e6;
const REFUSED = "http://127.0.0.1/";
const ok = () => new Response("ok");
const forEver = () => new Promise(() => {});

const time = {
  loop() {
    for (;;) {}
  },
  async microtasks() {
    const again = () => Promise.resolve().then(again);
    await again();
  },
  regex: () => new Response(`${/^(a+)+$/.test(`${"a".repeat(40)}b`)}`),
  async intervals() {
    for (let n = 0; n < 9000; n++) setInterval(() => {}, 0);
    await forEver();
  },
  lateLoop(request, env, ctx) {
    ctx.waitUntil(new Promise(() => setTimeout(() => { for (;;) {} }, 1)));
    return ok();
  },
  lateWait(request, env, ctx) {
    ctx.waitUntil(forEver());
    return ok();
  },
  catches() {
    for (;;) try { for (;;) {} } catch {} finally { continue; }
  },
};

const size = {
  bytes() {
    for (const all = []; ; ) all.push(new Uint8Array(1 << 24).fill(1));
  },
  objects() {
    for (const all = []; ; ) all.push({ n: all.length, s: `${all.length}`.repeat(9) });
  },
  doubling() {
    for (let s = "x"; ; s += s) new TextEncoder().encode(s);
  },
  response: () => new Response("x".repeat(1 << 29)),
  responseBytes: () => new Response(new Uint8Array(40 << 20)),
  endlessResponse() {
    return new Response(new ReadableStream({ pull: (controller) => controller.enqueue(new Uint8Array(1 << 20)) }));
  },
  headerNames() {
    const headers = new Headers();
    for (let n = 0; n < MILLION; n++) headers.set(`x-${n}`, "y");
    return new Response("", { headers });
  },
  headerValue: () => new Response("", { headers: { x: "y".repeat(1 << 20) } }),
  recursion() {
    const f = () => f() + 1;
    f();
  },
  nestedJson: () => new Response(JSON.stringify(JSON.parse("[".repeat(MILLION) + "]".repeat(MILLION)))),
  promises() {
    for (;;) new Promise(() => {});
  },
};

const number = {
  async subrequests() {
    for (let n = 0; n < MILLION; n++) await fetch(REFUSED).catch(() => {});
    return ok();
  },
  async subrequestsAtOnce() {
    await Promise.all(Array.from({ length: MILLION }, () => fetch(REFUSED).catch(() => {})));
    return ok();
  },
  timers() {
    for (let n = 0; n < MILLION; n++) setTimeout(() => {}, MILLION);
    return ok();
  },
  logFlood() {
    for (let n = 0; n < MILLION; n++) console.log(n);
    return ok();
  },
  longLogFlood() {
    for (let n = 0; n < MILLION; n++) console.log("x".repeat(20_000));
    return ok();
  },
  randomness() {
    for (;;) crypto.getRandomValues(new Uint8Array(65_536));
  },
  async keys(request, env) {
    for (let n = 0; n < MILLION; n++) await env.KV.put(`${n}`, "x");
    return ok();
  },
};

const raise = () => {
  throw new Error("polluted");
};

function replace(target, names, value) {
  for (const name of names) Object.defineProperty(target, name, { value, configurable: true, writable: true });
}

const pollution = {
  objectPrototype() {
    const names = "headers status body source type length done value reason kind data text toJSON then take next";
    for (const name of names.split(" ")) {
      Object.defineProperty(Object.prototype, name, { get: raise, set() {}, configurable: true });
    }
    return ok();
  },
  arrayPrototype() {
    replace(Array.prototype, ["push", "map", "join", "slice", "filter", "reduce", "includes", "splice"], raise);
    Array.prototype[Symbol.iterator] = function* () { yield "evil"; };
    return ok();
  },
  promiseThen() {
    Promise.prototype.then = function () { return this; };
    return ok();
  },
  promiseStatics() {
    Promise.prototype.catch = Promise.resolve = Promise.all = () => 3;
    return ok();
  },
  responsePrototype() {
    for (const name of Object.getOwnPropertyNames(Response.prototype)) {
      Object.defineProperty(Response.prototype, name, { get: raise, configurable: true });
    }
    return ok();
  },
  stringPrototype() {
    replace(String.prototype, Object.getOwnPropertyNames(String.prototype).filter((name) => name !== "length"), raise);
    return ok();
  },
  typedArrays() {
    for (const type of [Uint8Array, Uint32Array]) replace(type.prototype, ["set", "subarray", "slice", "fill"], raise);
    Object.defineProperty(Object.getPrototypeOf(Uint8Array.prototype), "length", { get: () => 1e9 });
    return ok();
  },
  json() {
    JSON.stringify = JSON.parse = raise;
    return ok();
  },
  mapPrototype() {
    for (const type of [Map, Set, WeakMap, WeakSet]) replace(type.prototype, ["get", "set", "has", "add", "delete"], raise);
    return ok();
  },
  errorPrototype() {
    Object.defineProperty(Error.prototype, "stack", { get: raise });
    Object.defineProperty(Error.prototype, "message", { get: raise });
    throw new TypeError("x");
  },
  globalThis(request) {
    const kept = request.constructor;
    for (const name of Object.getOwnPropertyNames(globalThis)) try { globalThis[name] = undefined; } catch {}
    return new kept("http://x/");
  },
  fakeResponse: () => Object.create(Response.prototype),
  proxyResponse: () => new Proxy(new Response("ok"), { get: raise }),
  thrownProxy() {
    throw new Proxy({}, { get: raise, getPrototypeOf: raise });
  },
  thrownNullPrototype() {
    throw Object.create(null);
  },
  thrownErrorThatThrows() {
    throw Object.defineProperty(new Error("x"), "message", { get: raise });
  },
  thrownUndefined() {
    throw undefined;
  },
  thenable: () => ({ then: (resolve) => resolve({ then: (again) => again({ get status() { return raise(); } }) }) }),
  headerGetters() {
    const getOwnPropertyDescriptor = () => ({ enumerable: true, configurable: true, get: raise });
    return new Response("ok", { headers: new Proxy({}, { ownKeys: () => ["x"], getOwnPropertyDescriptor }) });
  },
};

const all = { ...time, ...size, ...number, ...pollution };

export default {
  async fetch(request, env, ctx) {
    return all[env.HOSTILE ?? new URL(request.url).pathname.slice(1)](request, env, ctx);
  },
};
