// The body of a Request or a Response, as https://fetch.spec.whatwg.org/#bodyinit-unions: text and bytes are kept as
// they were given, and become a stream only when somebody asks for one.

import { takeBody } from "host";
import { formBytes, newBoundary, parseMultipart } from "./multipart.js";
import { joined, streamOf } from "./streams.js";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

const EMPTY = new Uint8Array(0);

// The body of a message that a filter sees. The host has it brought to the worker when it is taken, so a filter that
// does not look at it lets it pass by.
export class Passing {
  #bytes = null;

  bytes() {
    if (this.#bytes === null) {
      const { failed, text, data } = takeBody();
      if (failed) throw new TypeError(text);
      this.#bytes = data;
    }
    return this.#bytes;
  }

  // A stream of it, which may be given on unread: `passingBody` tells.
  stream() {
    const stream = new ReadableStream(
      {
        pull: (controller) => {
          const bytes = this.bytes();
          if (bytes.length) controller.enqueue(bytes.slice());
          controller.close();
        },
      },
      { highWaterMark: 0 },
    );
    passing.set(stream, this);
    return stream;
  }
}

const passing = new WeakMap(); // stream -> Passing

// Whether a body is that of the message that the filter sees, unread.
export function isPassing({ source, isUsed }) {
  return !isUsed && (source instanceof Passing || (source !== null && !source.locked && passing.has(source)));
}

export class Body {
  // source: null, a string, a Uint8Array, a ReadableStream or a Passing
  constructor(source, type) {
    this.source = source;
    this.type = type;
    this.used = false;
  }

  static from(init) {
    if (init === null || init === undefined) return new Body(null, null);
    if (typeof init === "string") return new Body(init, "text/plain;charset=UTF-8");
    if (init instanceof ReadableStream) {
      if (init.locked) throw new TypeError("the body stream is locked");
      return new Body(init, null);
    }
    if (init instanceof ArrayBuffer) return new Body(new Uint8Array(init.slice(0)), null);
    if (ArrayBuffer.isView(init)) {
      return new Body(new Uint8Array(init.buffer.slice(init.byteOffset, init.byteOffset + init.byteLength)), null);
    }
    if (init instanceof URLSearchParams) {
      return new Body(`${init}`, "application/x-www-form-urlencoded;charset=UTF-8");
    }
    if (init instanceof Blob) return new Body(init.stream(), init.type || null);
    if (init instanceof FormData) {
      const boundary = newBoundary();
      return new Body(streamOf(() => formBytes(init, boundary)), `multipart/form-data; boundary=${boundary}`);
    }
    return new Body(`${init}`, "text/plain;charset=UTF-8");
  }

  get isUsed() {
    return this.used || (this.source instanceof ReadableStream && disturbed.has(this.source));
  }

  // The stream that `request.body` and `response.body` show; null for no body.
  stream() {
    if (this.source === null || this.source instanceof ReadableStream) return this.source;
    if (this.source instanceof Passing && !this.used) return (this.source = this.source.stream());
    const bytes = typeof this.source === "string" ? encoder.encode(this.source) : this.source;
    const consumed = this.used;
    this.source = new ReadableStream({
      start(controller) {
        if (!consumed && bytes.length) controller.enqueue(bytes);
        controller.close();
      },
    });
    return this.source;
  }

  take() {
    if (this.isUsed || this.source?.locked) throw new TypeError("the body was read already");
    this.used = this.source !== null;
    return this.source;
  }

  // The bytes where they are here, else a promise of them: a promise costs as much as the rest of a small body.
  bytes() {
    const source = this.take();
    if (source === null) return EMPTY;
    if (typeof source === "string") return encoder.encode(source);
    if (source instanceof Passing) return source.bytes().slice();
    return source instanceof Uint8Array ? source : readAll(source);
  }

  // Likewise.
  text() {
    const source = this.take();
    if (source === null) return "";
    if (typeof source === "string") return source.isWellFormed() ? source : source.toWellFormed();
    if (source instanceof Passing) return decoder.decode(source.bytes());
    return source instanceof Uint8Array ? decoder.decode(source) : readAll(source).then((bytes) => decoder.decode(bytes));
  }

  async formData(type) {
    const essence = `${type ?? ""}`.split(";")[0].trim().toLowerCase();
    if (essence === "multipart/form-data") return parseMultipart(await this.bytes(), type);
    if (essence !== "application/x-www-form-urlencoded") {
      throw new TypeError("formData(): the content-type is not that of a form");
    }
    const form = new FormData();
    for (const [name, value] of new URLSearchParams(await this.text())) form.append(name, value);
    return form;
  }

  clone() {
    if (this.isUsed || this.source?.locked) throw new TypeError("the body was read already");
    if (this.source instanceof Uint8Array) return new Body(this.source.slice(), this.type); // who reads it may change it
    if (!(this.source instanceof ReadableStream)) return new Body(this.source, this.type);
    const [mine, theirs] = this.source.tee();
    this.source = mine;
    return new Body(theirs, this.type);
  }
}

// A stream tells nobody that it was read: whoever takes hold of it is noted here.
const disturbed = new WeakSet();

for (const method of ["getReader", "cancel", "tee", "pipeTo", "pipeThrough"]) {
  const native = ReadableStream.prototype[method];
  ReadableStream.prototype[method] = { [method](...args) {
    const result = native.apply(this, args);
    disturbed.add(this);
    return result;
  } }[method];
}

export async function readAll(stream) {
  const reader = stream.getReader();
  const chunks = [];
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    if (!(value instanceof Uint8Array)) throw new TypeError("a body stream must give Uint8Array chunks");
    chunks.push(value);
  }
  return joined(chunks);
}

// Gives a class with a `bodyOf(this)` the methods that Request and Response share.
export function mixBodyInto(prototype, bodyOf) {
  const methods = {
    get body() {
      return bodyOf(this).stream();
    },
    get bodyUsed() {
      return bodyOf(this).isUsed;
    },
    async text() {
      return bodyOf(this).text();
    },
    async json() {
      const text = bodyOf(this).text();
      return JSON.parse(typeof text === "string" ? text : await text);
    },
    async bytes() {
      return bodyOf(this).bytes();
    },
    async arrayBuffer() {
      const bytes = await bodyOf(this).bytes();
      return bytes.byteLength === bytes.buffer.byteLength
        ? bytes.buffer
        : bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
    },
    async blob() {
      return new Blob([await bodyOf(this).bytes()], { type: this.headers.get("content-type") ?? "" });
    },
    async formData() {
      return bodyOf(this).formData(this.headers.get("content-type"));
    },
  };
  Object.defineProperties(prototype, Object.getOwnPropertyDescriptors(methods));
}
