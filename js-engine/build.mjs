// Builds dist/skerry-js-engine.wasm, the core WebAssembly module of the engine component, unless its inputs are
// unchanged since the last build. Run it with `npm run build`; it takes about 10 seconds.

import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { copyFile, mkdir, mkdtemp, readFile, readdir, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { withRejectionsCounted } from "./rejections.mjs";
import { withStopChecks } from "./stop_checks.mjs";

const HERE = fileURLToPath(new URL(".", import.meta.url));
const OUTPUT = join(HERE, "dist", "skerry-js-engine.wasm");
const STAMP = `${OUTPUT}.inputs`; // sha256 of everything that the output depends on

async function inputsHash() {
  const web = (await readdir(join(HERE, "web"))).sort().map((name) => join("web", name));
  const hash = createHash("sha256");
  const ours = ["bindings.js", "build.mjs", "entry.js", "package-lock.json", "rejections.mjs", "stop_checks.mjs", "world.wit"];
  for (const name of [...ours, ...web]) {
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

// The engine knows no names of sets of characters (\p{...}): a regular expression of a package has the sets themselves.
const NAMED_SET = /\/(\[[^\]/]*\\p\{[^\]/]*\])\/u/g;

async function withSets(code) {
  const { default: rewrite } = await import("regexpu-core");
  const options = { unicodePropertyEscapes: "transform" };
  const written = code.replace(NAMED_SET, (_literal, set) => `/${rewrite(set, "u", options)}/u`);
  if (written.includes("\\p{")) throw new Error("a package has a regular expression that the engine does not know");
  return written;
}

const namedSets = {
  name: "named sets",
  setup(build) {
    build.onLoad({ filter: /\.js$/ }, async ({ path }) => ({ contents: await withSets(await readFile(path, "utf8")) }));
  },
};

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
    external: ["host"],
    plugins: [namedSets],
    logLevel: "error",
  });
}

// SpiderMonkey saves the stack, and reads the clock, for each promise that it makes, unless an option of its context is
// off (JS::ContextOptions::asyncStack): a tenth of a small request, for `async*` frames in stacks. Firefox has it off for
// pages without developer tools. Nothing that we could call sets it, so the four places that test it are made to find it
// off: `load16_u offset=112; [local.tee n]; i32.const 256; i32.and`, where a constant of as many bytes becomes 0.
const ASYNC_STACK_TEST = /\x2f[\x00\x01]\x70(?:\x22[\x00-\x7f])?\x41\x80\x02\x71/g;
const ASYNC_STACK_TESTS = 4;

function withoutAsyncStacks(engine) {
  const found = [...engine.toString("latin1").matchAll(ASYNC_STACK_TEST)];
  if (found.length !== ASYNC_STACK_TESTS) throw new Error(`the engine tests asyncStack in ${found.length} places, not 4`);
  for (const { 0: test, index } of found) engine[index + test.length - 2] = 0;
  return engine;
}

// componentize-js keeps its parts for itself, and makes bindings and a component around them that we do without.
async function engineParts() {
  const lib = new URL("../lib/", import.meta.resolve("@bytecodealliance/componentize-js"));
  return {
    engine: withoutAsyncStacks(await readFile(new URL("starlingmonkey_embedding.wasm", lib))),
    splicer: (await import(new URL("spidermonkey-embedding-splicer.js", lib))).splicer,
  };
}

// What the embedding reads while the snapshot is made: the core types of each export, and the names of the imports.
function embeddingVariables({ exports, imports }) {
  const variables = { DEBUG: "", SOURCE_NAME: "engine.js", FEATURE_CLOCKS: "1", EXPORT_CNT: `${exports.length}` };
  exports.forEach(([name, { params, ret, retptr, retsize, paramptr }], i) => {
    if (ret || retptr || paramptr) throw new Error(`world.wit: ${name}: bindings.js passes numbers only`);
    Object.assign(variables, { [`EXPORT${i}_NAME`]: name, [`EXPORT${i}_ARGS`]: params.join(",") });
    Object.assign(variables, { [`EXPORT${i}_RET`]: "", [`EXPORT${i}_RETSIZE`]: `${retsize}` });
  });
  imports.forEach(([, name, count], i) => {
    Object.assign(variables, { [`IMPORT${i}_NAME`]: name, [`IMPORT${i}_ARGCNT`]: `${count}` });
  });
  return { ...variables, IMPORT_CNT: `${imports.length}` };
}

async function snapshot(work, variables) {
  const { default: wizer } = await import("@bytecodealliance/wizer");
  const options = ["--allow-wasi", "--init-func=componentize.wizer", "--wasm-bulk-memory=true", "--inherit-env=true"];
  const { status, error, stderr } = spawnSync(
    wizer,
    [...options, `--mapdir=/::${work}`, "-o=snapshot.wasm", "spliced.wasm"],
    {
      cwd: work,
      env: variables,
      input: "--initializer-script-path bindings.js engine.js",
      stdio: ["pipe", "inherit", "pipe"],
      encoding: "utf8",
    },
  );
  if (status !== 0) throw new Error(`the engine could not be snapshotted: ${error ?? stderr}`);
  return readFile(join(work, "snapshot.wasm"));
}

async function buildEngine() {
  const work = await mkdtemp(join(tmpdir(), "skerry-js-engine-"));
  try {
    console.log("js-engine: snapshotting the engine (about 10 s) ...");
    const { engine, splicer } = await engineParts();
    const world = [["stdio", "random", "clocks"], undefined, join(HERE, "world.wit"), "engine"];
    const spliced = splicer.spliceBindings(engine, ...world, false);
    await writeFile(join(work, "spliced.wasm"), spliced.wasm);
    await copyFile(join(HERE, "bindings.js"), join(work, "bindings.js"));
    await bundleEntry(join(work, "engine.js"));
    const snapshotted = await snapshot(work, embeddingVariables(spliced));
    return withRejectionsCounted(withStopChecks(Buffer.from(splicer.stubWasi(snapshotted, ...world))));
  } finally {
    await rm(work, { recursive: true });
  }
}

// A custom section at the module's end says which contract it keeps: the sha256 of the files that tell it.
// `component.ENGINE_CONTRACT` is the one that the host's code keeps.
async function withContract(module) {
  const hash = createHash("sha256");
  for (const name of ["world.wit", "bindings.js", "stop_checks.mjs", "rejections.mjs"]) hash.update(await readFile(join(HERE, name)));
  const content = Buffer.from(`\x0fskerry:contract${hash.digest("hex").slice(0, 16)}`);
  return Buffer.concat([module, Buffer.from([0, content.length]), content]);
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
  const module = await withContract(await buildEngine());
  await mkdir(join(HERE, "dist"), { recursive: true });
  await writeAtomically(OUTPUT, module);
  await writeAtomically(STAMP, hash);
  const seconds = ((performance.now() - started) / 1000).toFixed(0);
  console.log(`js-engine: built dist/skerry-js-engine.wasm, ${(module.length / 1e6).toFixed(1)} MB, in ${seconds} s`);
}
