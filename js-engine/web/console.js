// console: every call is one line for the host, with its level. Values are written as people expect them in a log,
// and bounded, so that a function cannot write an endless line by logging an object that refers to the world.

import { log } from "host";

const DEPTH_MAX = 4; // nested objects
const ITEMS_MAX = 100; // members of one object
const MESSAGE_CHARACTERS_MAX = 16 * 1024; // the host's limit of a log line counts bytes, after this one
const LEVEL = { debug: 0, info: 1, warn: 2, error: 3 };

const FRAMES_MAX = 30;
const CAUSES_MAX = 10; // of one error, each with its own cause
const OUR_FRAME = /@(?:bindings|engine)\.js:/;

function inspect(value, depth, seen) {
  switch (typeof value) {
    case "string":
      return depth ? JSON.stringify(value) : value;
    case "bigint":
      return `${value}n`;
    case "function":
      return `[Function ${value.name || "(anonymous)"}]`;
    case "object":
      return value === null ? "null" : inspectObject(value, depth, seen);
    default:
      return String(value);
  }
}

function inspectObject(value, depth, seen) {
  if (seen.includes(value)) return "[Circular]";
  if (value instanceof Error) return describeError(value, seen);
  if (value instanceof Date) return isNaN(value) ? "Invalid Date" : value.toISOString();
  if (value instanceof RegExp || value instanceof URL || value instanceof URLSearchParams) return String(value);
  if (depth >= DEPTH_MAX) return Array.isArray(value) ? "[Array]" : "[Object]";
  const inner = (member) => inspect(member, depth + 1, [...seen, value]);
  if (Array.isArray(value) || ArrayBuffer.isView(value)) return `[${some(value, inner)}]`;
  if (value instanceof Map) return `Map(${value.size}) {${some(value, ([k, v]) => `${inner(k)} => ${inner(v)}`)}}`;
  if (value instanceof Set) return `Set(${value.size}) {${some(value, inner)}}`;
  const members = value[Symbol.iterator] ? [...value] : Object.entries(value);
  const name = value.constructor?.name;
  return `${name && name !== "Object" ? `${name} ` : ""}{${some(members, ([k, v]) => `${k}: ${inner(v)}`)}}`;
}

function some(members, write) {
  const written = [];
  for (const member of members) {
    if (written.length === ITEMS_MAX) {
      written.push("...");
      break;
    }
    written.push(write(member));
  }
  return written.length ? ` ${written.join(", ")} ` : "";
}

// The frames of the function's own code, innermost first: those of this component say nothing to its author.
function authorsFrames(error) {
  const frames = `${error.stack ?? ""}`.split("\n").filter((frame) => frame && !OUR_FRAME.test(frame));
  if (frames.length > FRAMES_MAX) frames.splice(FRAMES_MAX, frames.length, `... ${frames.length - FRAMES_MAX} more`);
  return frames.join("\n");
}

// The frames of an error, then what caused it; `seen` is what it is inside of, or causes.
export function stackOf(error, seen = []) {
  const frames = authorsFrames(error);
  if (error.cause === undefined || seen.length >= CAUSES_MAX) return frames;
  const cause = `caused by: ${inspect(error.cause, 1, [...seen, error])}`;
  return frames ? `${frames}\n${cause}` : cause;
}

// "Name: message", and its stack below.
export function describeError(error, seen) {
  const stack = stackOf(error, seen);
  const head = `${error.name}: ${error.message}`;
  return stack ? `${head}\n${stack}` : head;
}

function format(values) {
  if (typeof values[0] !== "string" || !values[0].includes("%") || values.length === 1) {
    return values.map((value) => inspect(value, 0, [])).join(" ");
  }
  let next = 1;
  const text = values[0].replace(/%[sdifoOjc%]/g, (mark) => {
    if (mark === "%%") return "%";
    if (next >= values.length) return mark;
    const value = values[next++];
    if (mark === "%c") return "";
    if (mark === "%d" || mark === "%i") return String(mark === "%i" ? parseInt(value, 10) : Number(value));
    if (mark === "%f") return String(parseFloat(value));
    return mark === "%s" ? inspect(value, 0, []) : inspect(value, 1, []);
  });
  return [text, ...values.slice(next).map((value) => inspect(value, 0, []))].join(" ");
}

export function write(level, values) {
  let text;
  try {
    text = format(values);
  } catch (error) {
    text = `(console could not write the value: ${error})`; // a getter or toString that throws
  }
  log(LEVEL[level], "  ".repeat(indent) + text.slice(0, MESSAGE_CHARACTERS_MAX));
}

const NAMES_MAX = 1000; // counters and timers by name
const counts = new Map();
const timers = new Map();
let indent = 0;

function remember(map, name, value) {
  if (map.size >= NAMES_MAX && !map.has(name)) map.delete(map.keys().next().value);
  map.set(name, value);
  return value;
}

function elapsed(name) {
  return `${name}: ${(performance.now() - timers.get(name)).toFixed(3)} ms`;
}

export const console = {
  debug: (...values) => write("debug", values),
  log: (...values) => write("info", values),
  info: (...values) => write("info", values),
  warn: (...values) => write("warn", values),
  error: (...values) => write("error", values),
  trace: (...values) => write("debug", [...values, `\n${new Error().stack}`]),
  dir: (value) => write("info", [value]),
  dirxml: (...values) => write("info", values),
  table: (value) => write("info", [value]),
  assert(condition, ...values) {
    if (!condition) write("error", ["Assertion failed", ...values]);
  },
  count: (name = "default") => write("info", [`${name}: ${remember(counts, name, (counts.get(name) ?? 0) + 1)}`]),
  countReset: (name = "default") => void counts.delete(name),
  time: (name = "default") => void remember(timers, name, performance.now()),
  timeLog: (name = "default", ...values) => timers.has(name) && write("info", [elapsed(name), ...values]),
  timeEnd(name = "default") {
    if (timers.has(name)) write("info", [elapsed(name)]);
    timers.delete(name);
  },
  group(...values) {
    if (values.length) write("info", values);
    indent = Math.min(indent + 1, 20);
  },
  groupCollapsed: (...values) => console.group(...values),
  groupEnd: () => void (indent = Math.max(indent - 1, 0)),
  clear() {},
};
