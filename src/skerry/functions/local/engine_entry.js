// Stands between the Wasm engine, which calls `fetch` with a message, and a function of context and payload: what
// node_worker.cjs is to Node.js. A failure is answered with status 500, so that whoever passes it on rewrites the frames
// of its stack. "HANDLER" is replaced by the path of the function's module.
const loaded = require("HANDLER");
const run = loaded && loaded.default ? loaded.default : loaded;
if (typeof run !== "function") {
  throw new Error("Invalid function file or handler: module.exports must be a function (context, payload)");
}
const write = JSON.stringify;

function failed(type, error) {
  const isError = error instanceof Error;
  const message = String(isError ? error.message : error);
  const frames = isError ? String(error.stack ?? "").split("\n").filter(Boolean) : [];
  const stacktrace = isError ? [`${error.name}: ${message}`, ...frames] : [];
  return new Response(write({ context: { error: { type, message, stacktrace } }, payload: null }), { status: 500 });
}

export default {
  async fetch(request) {
    const { context, payload } = await request.json();
    let output;
    try {
      output = await run(context, payload);
    } catch (error) {
      if (error === "out of memory") throw error; // the engine's own word: this instance is of no further use
      return failed(error instanceof TypeError ? "InputError" : "FunctionError", error);
    }
    try {
      return new Response(`{"context":{"error":null},"payload":${write(output) ?? "null"}}`);
    } catch (error) {
      return failed("FunctionError", new Error(`output is no JSON: ${error.message}`));
    }
  },
};
