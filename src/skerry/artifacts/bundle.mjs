// Bundle functions with esbuild's documented API, and read nothing outside the folder of each.
//
//     node bundle.mjs ESBUILD_PACKAGE, then one JSON document a line on standard input and on standard output:
//     {"root": …, "modules": … or null, "entrypoint": …, "refuseGlobals": true or false}
//     {"code": …, "map": …, "errors": [{message, file, line, column, excerpt, needsNode}], "warnings": […]}
//
// `modules` is a node_modules folder beside `root` that its imports may lead to. With `refuseGlobals`, code that names a
// global of Node.js is an error, too; any error that Node.js would not have is told as such (`needsNode`). One job at a time; nothing is kept
// from one to the next but the running esbuild. It ends with its standard input, so it never outlives its parent.
//
// Why not esbuild's command: it has no way to say "only this folder". Imports may climb out of it
// ("../../etc/x"), be absolute, or be patterns (import("../../" + name + ".json")) that esbuild expands by
// walking the disk. `contained` below refuses all three, before a file outside is opened: the first two when
// they are resolved, the third when they are loaded (esbuild lets no plugin see a pattern earlier).
//
// Lines count from 1, columns are bytes of UTF-8 from 0, as esbuild has them; Python turns them into characters.

import { realpathSync } from "node:fs";
import { isBuiltin } from "node:module";
import { isAbsolute, join, relative, resolve, sep } from "node:path";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const MODULES = "../node_modules/"; // how the packages beside a function's files are called in its bundle
const OUTFILE = "function.js";
const DIAGNOSTICS_MAX = 50;
const RESOLVED_HERE = Symbol("resolved here");
const NEEDS_NODE = "needs Node.js"; // detail of an error
const NODE_GLOBALS = ["Buffer", "process", "setImmediate", "clearImmediate", "__dirname", "__filename"];
const MARK = "skerryNodeGlobal_"; // what a name begins with that takes the place of one of them

/** A plugin that lets nothing but files beneath `folders` into the bundle. */
function contained(folders) {
  const inside = (path) => folders.some((folder) => path.startsWith(folder + sep));
  const refuse = (text, detail) => ({ errors: [{ text, detail }] });

  async function onResolve(args) {
    if (args.kind === "entry-point" || args.pluginData === RESOLVED_HERE) return undefined;
    const { path, ...from } = args;
    if (needsNode(path)) return refuse(`${quoted(path)} ${ONLY_IN_NODE}`, NEEDS_NODE);
    const refusal = refusalOf(path, args.resolveDir, inside);
    if (refusal) return refuse(refusal);
    const result = await this.resolve(path, {
      importer: from.importer, namespace: from.namespace, resolveDir: from.resolveDir,
      kind: from.kind, with: from.with, pluginData: RESOLVED_HERE,
    });
    // What package.json or a symbolic link leads to, or a node_modules folder further up, is checked here.
    const found = result.errors.length === 0 && !result.external;
    if (!found || (result.namespace === "file" && !inside(result.path))) return refuse(unresolved(path));
    return result;
  }

  function onLoad(args) {
    return inside(args.path) ? undefined : refuse("an import pattern leaves the function's files");
  }

  return {
    name: "contained",
    setup(build) {
      build.onResolve({ filter: /.*/ }, onResolve.bind(build));
      build.onLoad({ filter: /.*/, namespace: "file" }, onLoad);
    },
  };
}

const ONLY_IN_NODE = "is a module of Node.js, which functions run without: use the Web APIs instead";

/** Tell whether an import is a module of Node.js, or an addon in machine code. */
function needsNode(path) {
  return isBuiltin(path) || path.endsWith(".node");
}

/** Return an error for each global of Node.js that the code of a bundle names; each is marked there (`options`). */
function globalsErrors(code) {
  return NODE_GLOBALS.filter((name) => code.includes(MARK + name)).map((name) => ({
    text: `the code names ${name}, a global of Node.js, which functions run without`,
    location: null,
    detail: NEEDS_NODE,
  }));
}

/** Say why an import can be refused by its text alone; empty where it cannot. */
function refusalOf(path, resolveDir, inside) {
  if (/^[a-z][a-z0-9+.-]*:/i.test(path) && !path.startsWith("data:")) {
    return `${quoted(path)} is a URL: nothing is fetched at build time, so add the file to the function's files`;
  }
  const climbs = /^\.\.?([/\\]|$)/.test(path) && !inside(resolve(resolveDir, path) + sep);
  if (isAbsolute(path) || climbs) {
    return `${quoted(path)} leaves the function's files: import by a relative path among them`;
  }
  return "";
}

function unresolved(path) {
  const relativePath = path.startsWith(".");
  const fix = relativePath
    ? "no such file is among the function's files"
    : "the function's files must hold every import, or their package.json name it in its dependencies";
  return `Could not resolve ${quoted(path)}: ${fix}`;
}

const quoted = (text) => JSON.stringify(text);

/** Flatten an esbuild message; a place outside `root` keeps no file and no source line. */
function diagnostic(root, { text, location, detail, notes = [] }) {
  const needsNode = detail === NEEDS_NODE;
  const hints = notes.filter((note) => note.text && !note.location).map((note) => note.text);
  const message = [text, ...hints].join(" ").replaceAll(root + sep, "");
  const path = location ? resolve(root, location.file) : "";
  if (!path.startsWith(root + sep) && !location?.file.startsWith(MODULES)) return { message, file: "", line: 0, column: 0, excerpt: "", needsNode };
  const { line, column, lineText: excerpt } = location;
  return { message, file: relative(root, path).replaceAll(sep, "/"), line, column, excerpt, needsNode };
}

// Literals with these become calls of RegExp, so that what a package has and a function never uses hinders no load.
const ENGINE_LACKS = { "regexp-unicode-property-escapes": false, "regexp-set-notation": false };

/** What the engine needs of a bundle (js-engine/README.md), and what keeps a build contained and repeatable. */
function options({ root, modules, entrypoint, refuseGlobals }) {
  return {
    bundle: true,
    format: "iife", // a strict script, whose completion value is the module's namespace
    globalName: "skerryModule",
    banner: { js: '"use strict";' },
    footer: { js: "skerryModule;" },
    platform: "neutral",
    target: "es2024",
    supported: ENGINE_LACKS,
    mainFields: ["module", "main"],
    conditions: ["workerd", "worker", "browser"],
    charset: "utf8",
    legalComments: "none",
    define: {
      "process.env.NODE_ENV": '"production"',
      ...Object.fromEntries((refuseGlobals ? NODE_GLOBALS : []).map((name) => [name, MARK + name])),
    },
    loader: { ".html": "text", ".css": "text", ".svg": "text", ".md": "text", ".sql": "text" },

    absWorkingDir: root, // names in the bundle and its map are relative: no path of this machine gets in
    allowOverwrite: true, // nothing is written: a function's file may well be named as OUTFILE
    entryPoints: [join(root, entrypoint)],
    logLevel: "silent",
    logLimit: DIAGNOSTICS_MAX,
    outfile: join(root, OUTFILE),
    plugins: [contained(modules ? [root, modules] : [root])],
    sourcemap: "external",
    sourcesContent: false,
    tsconfigRaw: "{}", // a tsconfig.json is not read: its "extends" could name any file of this machine
    write: false,
  };
}

/** Flatten messages, each once: a pattern that leaves the folder is told for every file that it met. */
function diagnostics(root, messages) {
  const texts = messages.map((message) => JSON.stringify(diagnostic(root, message)));
  return [...new Set(texts)].slice(0, DIAGNOSTICS_MAX).map((text) => JSON.parse(text));
}

async function bundle(esbuild, job) {
  const { root } = job;
  try {
    const { outputFiles, warnings } = await esbuild.build(options(job));
    const output = (suffix) => outputFiles.find((file) => file.path.endsWith(OUTFILE + suffix)).text;
    const errors = job.refuseGlobals ? globalsErrors(output("")) : [];
    if (errors.length) throw { errors, warnings };
    return { code: output(""), map: output(".map"), errors: [], warnings: diagnostics(root, warnings) };
  } catch (failure) {
    if (!Array.isArray(failure.errors)) throw failure;
    return { code: "", map: "", errors: diagnostics(root, failure.errors), warnings: diagnostics(root, failure.warnings) };
  }
}

const [esbuildPackage] = process.argv.slice(2);
const { default: esbuild } = await import(pathToFileURL(join(esbuildPackage, "lib", "main.js")).href);
const lines = createInterface({ input: process.stdin });
lines.on("close", () => process.exit(0));
for await (const line of lines) {
  const { root, modules, ...more } = JSON.parse(line);
  const job = { root: realpathSync(root), modules: modules && realpathSync(modules), ...more };
  process.stdout.write(`${JSON.stringify(await bundle(esbuild, job))}\n`);
}
