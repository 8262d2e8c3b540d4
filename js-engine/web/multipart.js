// Reads and writes multipart/form-data, as https://fetch.spec.whatwg.org/#multipart-form-data-mime-type-parser and
// https://html.spec.whatwg.org/#multipart-form-data: the engine's own parser gives files the text of their bytes' numbers,
// and what it writes needs its event loop, which never runs.

import { joined } from "./streams.js";

const PARTS_MAX = 1000; // of one form
const decoder = new TextDecoder();
const encoder = new TextEncoder();
// One character for each byte, so an index in the text is one in the bytes; ASCII is itself, which boundaries are.
const bytewise = new TextDecoder("windows-1252");

const BOUNDARY = /;\s*boundary=(?:"([^"]{1,70})"|([^\s;"]{1,70}))/i;
const NAME = /;\s*name="([^"]*)"/i;
const FILENAME = /;\s*filename="([^"]*)"/i;
const TYPE = /^content-type:\s*(.+)$/im;

export function parseMultipart(bytes, contentType) {
  const boundary = BOUNDARY.exec(contentType);
  if (!boundary) throw new TypeError("formData(): the content-type has no boundary");
  const mark = `--${boundary[1] ?? boundary[2]}`;
  const text = bytewise.decode(bytes);
  const form = new FormData();
  let at = text.indexOf(mark);
  for (let parts = 0; ; parts++) {
    if (at < 0 || parts > PARTS_MAX) throw new TypeError(`formData(): not a form, or one of over ${PARTS_MAX} parts`);
    at += mark.length;
    if (text.startsWith("--", at)) return form;
    const head = text.indexOf("\r\n\r\n", at);
    const end = text.indexOf(`\r\n${mark}`, head + 2);
    if (head < 0 || end < 0) throw new TypeError("formData(): the form ends within a part");
    appendPart(form, decoder.decode(bytes.subarray(at, head)), bytes.subarray(Math.min(head + 4, end), end));
    at = end + 2;
  }
}

function appendPart(form, head, content) {
  const name = NAME.exec(head);
  if (!name) throw new TypeError("formData(): a part has no name");
  const filename = FILENAME.exec(head);
  if (!filename) return form.append(unescaped(name[1]), decoder.decode(content));
  const type = TYPE.exec(head)?.[1].trim() ?? "text/plain";
  return form.append(unescaped(name[1]), new File([content], unescaped(filename[1]), { type }));
}

// Browsers write these three in a name as percent codes, and nothing else.
function unescaped(name) {
  return name.replace(/%0A/gi, "\n").replace(/%0D/gi, "\r").replace(/%22/g, '"');
}

function escaped(name) {
  return name.replace(/\r\n|\r|\n/g, "\r\n").replace(/\n/g, "%0A").replace(/\r/g, "%0D").replace(/"/g, "%22");
}

export function newBoundary() {
  return `----skerry${crypto.randomUUID().replaceAll("-", "")}`;
}

export async function formBytes(form, boundary) {
  const parts = [];
  for (const [name, value] of form) {
    const head = `--${boundary}\r\nContent-Disposition: form-data; name="${escaped(name)}"`;
    if (typeof value === "string") {
      parts.push(encoder.encode(`${head}\r\n\r\n${value.replace(/\r\n|\r|\n/g, "\r\n")}\r\n`));
      continue;
    }
    const type = value.type || "application/octet-stream";
    parts.push(encoder.encode(`${head}; filename="${escaped(value.name)}"\r\nContent-Type: ${type}\r\n\r\n`));
    parts.push(new Uint8Array(await value.arrayBuffer()), encoder.encode("\r\n"));
  }
  parts.push(encoder.encode(`--${boundary}--\r\n`));
  return joined(parts);
}
