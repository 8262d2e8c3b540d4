// A wasi:http component for tests: each path does what its name says.
import { getEnvironment } from "wasi:cli/environment@0.2.10";
import { exit } from "wasi:cli/exit@0.2.10";

const text = (body, init = {}) => new Response(body, { headers: { "content-type": "text/plain", "x-made-by": "js" }, ...init });

function counted() {
  let next = 0;
  const encoder = new TextEncoder();
  return new ReadableStream({
    async pull(controller) {
      if (next === 3) return controller.close();
      if (next) await new Promise((resolve) => setTimeout(resolve, 50));
      controller.enqueue(encoder.encode(`${next++}\n`));
    },
  });
}

// Asked again only once its first piece was taken, it ends the program while the answer waits for the next one.
function brokenOff() {
  let begun = false;
  const pull = async (controller) => {
    if (!begun) {
      begun = true;
      return controller.enqueue(new TextEncoder().encode("begun\n"));
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
    exit({ tag: "err" });
  };
  return new ReadableStream({ pull }, { highWaterMark: 0 });
}

async function fetched(to) {
  try {
    const answer = await fetch(to, { method: "POST", body: "sent", headers: { "x-from": "a function" } });
    return new Response(answer.body, { status: answer.status, headers: { "x-type": answer.headers.get("content-type") } });
  } catch (error) {
    return text(`${error}`, { status: 502 });
  }
}

async function answer(request) {
  const url = new URL(request.url);
  switch (url.pathname) {
    case "/echo":
      return new Response(request.body);
    case "/headers":
      return text(`${request.method} ${request.headers.get("x-asked")} ${url.search.slice(1)}`);
    case "/fetch":
      return fetched(url.searchParams.get("to"));
    case "/stream":
      return text(counted());
    case "/broken":
      return text(brokenOff());
    case "/trap":
      return exit({ tag: "err" });
    case "/throw":
      throw new Error("as asked");
    case "/loop":
      for (;;);
    case "/memory":
      for (const kept = []; ; ) kept.push(new Uint8Array(1 << 20).fill(1));
    case "/flood":
      for (;;) console.error("out of the flood");
  }
  console.error("said by js");
  return text(`${new Map(getEnvironment()).get("GREETING")} from js`);
}

addEventListener("fetch", (event) => event.respondWith(answer(event.request)));
