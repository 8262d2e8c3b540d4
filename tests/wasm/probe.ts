// A plugin for tests: its configuration, a JSON object of strings, says what it does.
//
//   append     a mark at the end of the request header x-chain
//   header     the value of the response header x-probe
//   trap       it traps on a request that has this header
//   deny       it answers a request that has this header, with 418
//   body       it sets this body of the response
//   call       it asks this cluster first, and tells its status in the request header x-called
//   refuse     it refuses its configuration
//   loop       it never comes back from its configuration
export * from "@solo-io/proxy-runtime/proxy";
import {
  Context,
  FilterDataStatusValues,
  FilterHeadersStatusValues,
  GrpcStatusValues,
  HeaderPair,
  Headers,
  LogLevelValues,
  RootContext,
  WasmResultValues,
  continue_request,
  log,
  registerRootContext,
  send_local_response,
  stream_context,
} from "@solo-io/proxy-runtime";

// @ts-ignore: decorator
@external("env", "proxy_set_buffer_bytes")
declare function proxy_set_buffer_bytes(kind: u32, start: u32, length: u32, data: usize, size: usize): u32;

const RESPONSE_BODY: u32 = 1;

function pair(name: string, value: string): HeaderPair {
  return new HeaderPair(String.UTF8.encode(name), String.UTF8.encode(value));
}

class ProbeRoot extends RootContext {
  prefix: string = "";

  /** Returns a string of the configuration, or "". */
  option(key: string): string {
    const text = this.getConfiguration();
    const found = text.indexOf('"' + key + '":"');
    if (found < 0) return "";
    const start = found + key.length + 4;
    return text.substring(start, text.indexOf('"', start));
  }

  onConfigure(size: u32): bool {
    if (!super.onConfigure(size)) return false;
    while (this.option("loop") != "") {}
    if (this.option("refuse") != "") {
      log(LogLevelValues.error, "refused: " + this.option("refuse"));
      return false;
    }
    return true;
  }

  createContext(context_id: u32): Context {
    return new Probe(context_id, this);
  }
}

class Probe extends Context {
  constructor(context_id: u32, root: ProbeRoot) {
    super(context_id, root);
  }

  option(key: string): string {
    return (this.root_context as ProbeRoot).option(key);
  }

  /** Tells whether the request has the header that an option names. */
  isAsked(key: string): bool {
    const header = this.option(key);
    return header != "" && stream_context.headers.request.get(header) != "";
  }

  onRequestHeaders(count: u32, end_of_stream: bool): FilterHeadersStatusValues {
    if (this.isAsked("trap")) unreachable();
    if (this.isAsked("deny")) {
      send_local_response(418, "denied", String.UTF8.encode("denied"), [], GrpcStatusValues.PermissionDenied);
      return FilterHeadersStatusValues.StopIteration;
    }
    const mark = this.option("append");
    if (mark != "") {
      const before = stream_context.headers.request.get("x-chain");
      stream_context.headers.request.replace("x-chain", before == "" ? mark : before + "," + mark);
    }
    const cluster = this.option("call");
    return cluster == "" ? FilterHeadersStatusValues.Continue : this.ask(cluster);
  }

  ask(cluster: string): FilterHeadersStatusValues {
    const headers: Headers = [pair(":method", "GET"), pair(":path", "/asked"), pair(":authority", "asked.test")];
    const result = this.root_context.httpCall(cluster, headers, new ArrayBuffer(0), [], 1000, this, (origin, count, size, trailers) => {
      stream_context.headers.request.replace("x-called", count == 0 ? "failed" : "answered");
      continue_request();
    });
    return result == WasmResultValues.Ok ? FilterHeadersStatusValues.StopIteration : FilterHeadersStatusValues.Continue;
  }

  onResponseHeaders(count: u32, end_of_stream: bool): FilterHeadersStatusValues {
    const value = this.option("header");
    if (value != "") stream_context.headers.response.add("x-probe", (this.root_context as ProbeRoot).prefix + value);
    if (this.option("body") != "") stream_context.headers.response.remove("content-length");
    return FilterHeadersStatusValues.Continue;
  }

  onResponseBody(length: usize, end_of_stream: bool): FilterDataStatusValues {
    const text = this.option("body");
    if (text == "") return FilterDataStatusValues.Continue;
    if (!end_of_stream) return FilterDataStatusValues.StopIterationAndBuffer;
    const body = String.UTF8.encode(text);
    proxy_set_buffer_bytes(RESPONSE_BODY, 0, length as u32, changetype<usize>(body), body.byteLength);
    return FilterDataStatusValues.Continue;
  }
}

registerRootContext((context_id: u32) => {
  return new ProbeRoot(context_id);
}, "probe");
registerRootContext((context_id: u32) => {
  const root = new ProbeRoot(context_id);
  root.prefix = "named:";
  return root;
}, "named");
