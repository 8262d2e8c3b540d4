// Builds dist/skerry-js-engine.wasm, the core WebAssembly module of the engine component, unless its inputs are
// unchanged since the last build. Run it with `npm run build`; it takes about 20 seconds.

import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readFile, readdir, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const HERE = fileURLToPath(new URL(".", import.meta.url));
const OUTPUT = join(HERE, "dist", "skerry-js-engine.wasm");
const STAMP = `${OUTPUT}.inputs`; // sha256 of everything that the output depends on

async function inputsHash() {
  const web = (await readdir(join(HERE, "web"))).sort().map((name) => join("web", name));
  const hash = createHash("sha256");
  for (const name of ["build.mjs", "entry.js", "package-lock.json", "world.wit", ...web]) {
    hash.update(name).update("\0").update(await readFile(join(HERE, name))).update("\0");
  }
  return hash.digest("hex");
}

async function isCurrent(hash) {
  try {
    return (await readFile(STAMP, "utf8")) === hash && (await readFile(OUTPUT)).length > 0;
  } catch (error) {
    if (error.code === "ENOENT") return false;
    throw error;
  }
}

async function bundleEntry(outfile) {
  const { build } = await import("esbuild");
  await build({
    absWorkingDir: HERE,
    entryPoints: ["entry.js"],
    outfile,
    bundle: true,
    format: "esm",
    platform: "neutral",
    target: "es2024",
    external: ["log"],
    logLevel: "error",
  });
}

// jco takes a component apart: the first core module is the engine itself, the others are the adapter of WASI
// preview 1 and its glue, for which our host stands in.
async function coreModule(component) {
  const { transpile } = await import("@bytecodealliance/jco");
  const { files } = await transpile(component, { name: "engine", instantiation: "async" });
  const core = Object.entries(files).find(([name]) => name.endsWith("engine.core.wasm"));
  if (!core) throw new Error(`no core module among ${Object.keys(files)}`);
  return core[1];
}

async function buildEngine() {
  const { componentize } = await import("@bytecodealliance/componentize-js");
  const work = await mkdtemp(join(tmpdir(), "skerry-js-engine-"));
  try {
    const entry = join(work, "engine.js");
    await bundleEntry(entry);
    console.log("js-engine: snapshotting the engine (about 20 s) ...");
    const { component } = await componentize({
      sourcePath: entry,
      witPath: join(HERE, "world.wit"),
      worldName: "engine",
      disableFeatures: ["http", "fetch-event"],
    });
    return await coreModule(component);
  } finally {
    await rm(work, { recursive: true });
  }
}

async function writeAtomically(path, content) {
  await writeFile(`${path}.${process.pid}.part`, content);
  await rename(`${path}.${process.pid}.part`, path);
}

const started = performance.now();
const hash = await inputsHash();
if (await isCurrent(hash)) {
  console.log("js-engine: dist/skerry-js-engine.wasm is up to date");
} else {
  const module = await buildEngine();
  await mkdir(join(HERE, "dist"), { recursive: true });
  await writeAtomically(OUTPUT, module);
  await writeAtomically(STAMP, hash);
  const seconds = ((performance.now() - started) / 1000).toFixed(0);
  console.log(`js-engine: built dist/skerry-js-engine.wasm, ${(module.length / 1e6).toFixed(1)} MB, in ${seconds} s`);
}
