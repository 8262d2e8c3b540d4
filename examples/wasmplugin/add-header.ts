// Adds a header to every response: its name and value are the plugin's configuration, such as
// {"name": "x-greeting", "value": "hello"}.
export * from "@solo-io/proxy-runtime/proxy";
import {
  Context,
  FilterHeadersStatusValues,
  RootContext,
  registerRootContext,
  stream_context,
} from "@solo-io/proxy-runtime";

class AddHeaderRoot extends RootContext {
  createContext(context_id: u32): Context {
    return new AddHeader(context_id, this);
  }

  // Returns a string of the configuration. AssemblyScript has no JSON; this much of it is enough here.
  setting(key: string): string {
    const text = this.getConfiguration();
    const found = text.indexOf('"' + key + '":"');
    if (found < 0) return "";
    const start = found + key.length + 4;
    return text.substring(start, text.indexOf('"', start));
  }

  // A plugin that refuses its configuration is not taken: what ran before keeps running.
  onConfigure(size: u32): bool {
    return super.onConfigure(size) && this.setting("name") != "";
  }
}

class AddHeader extends Context {
  constructor(context_id: u32, root: AddHeaderRoot) {
    super(context_id, root);
  }

  onResponseHeaders(count: u32, end_of_stream: bool): FilterHeadersStatusValues {
    const root = this.root_context as AddHeaderRoot;
    stream_context.headers.response.add(root.setting("name"), root.setting("value"));
    return FilterHeadersStatusValues.Continue;
  }
}

registerRootContext((context_id: u32) => {
  return new AddHeaderRoot(context_id);
}, "add_header");
