// What the engine's streams lack of https://streams.spec.whatwg.org/ and https://encoding.spec.whatwg.org/.

export class TextEncoderStream extends TransformStream {
  constructor() {
    const encoder = new TextEncoder();
    super({ transform: (chunk, controller) => controller.enqueue(encoder.encode(chunk)) });
  }

  get encoding() {
    return "utf-8";
  }
}

export class TextDecoderStream extends TransformStream {
  constructor(label = "utf-8", options = {}) {
    const decoder = new TextDecoder(label, options);
    super({
      transform(chunk, controller) {
        const text = decoder.decode(chunk, { stream: true });
        if (text) controller.enqueue(text);
      },
      flush(controller) {
        const text = decoder.decode();
        if (text) controller.enqueue(text);
      },
    });
  }
}

export async function* iterate({ preventCancel = false } = {}) {
  const reader = this.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    if (!preventCancel) await reader.cancel().catch(() => {});
    reader.releaseLock();
  }
}

export function streamFrom(source) {
  const iterator = source[Symbol.asyncIterator]?.() ?? source[Symbol.iterator]();
  return new ReadableStream({
    async pull(controller) {
      const { done, value } = await iterator.next();
      if (done) controller.close();
      else controller.enqueue(await value);
    },
    async cancel(reason) {
      await iterator.return?.(reason);
    },
  });
}

// The bytes of many pieces as one.
export function joined(pieces) {
  if (pieces.length === 1) return pieces[0];
  const whole = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}

// A stream of bytes that are brought when somebody reads it.
export function streamOf(bring) {
  return new ReadableStream(
    {
      async pull(controller) {
        const bytes = await bring();
        if (bytes.length) controller.enqueue(bytes);
        controller.close();
      },
    },
    { highWaterMark: 0 },
  );
}

// https://w3c.github.io/FileAPI/#dom-blob-stream: the engine's own needs its event loop, which never runs.
export function blobStream() {
  return streamOf(async () => new Uint8Array(await this.arrayBuffer()));
}
