// Builds http.js into a wasi:http component:  node componentize.mjs NODE_MODULES OUTPUT
// The interfaces are those that come with jco; the engine of componentize-js speaks 0.2.10 of them.

import { cp, mkdir, mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const VERSION = "0.2.10";
const WORLD = `package skerry:tests;
world http {
  import wasi:cli/environment@${VERSION};
  import wasi:cli/exit@${VERSION};
  export wasi:http/incoming-handler@${VERSION};
}`;

async function interfaces(folder, from) {
  const deps = join(folder, "wit", "deps");
  await mkdir(deps, { recursive: true });
  await cp(from, deps, { recursive: true });
  for (const name of await readdir(deps)) {
    const path = join(deps, name, "package.wit");
    await writeFile(path, (await readFile(path, "utf8")).replaceAll("0.2.12", VERSION));
  }
  await writeFile(join(folder, "wit", "world.wit"), WORLD);
  return join(folder, "wit");
}

const [modules, output] = process.argv.slice(2);
const packages = join(resolve(modules), "@bytecodealliance");
const { componentize } = await import(pathToFileURL(join(packages, "componentize-js", "src", "componentize.js")));
const folder = await mkdtemp(join(tmpdir(), "skerry-"));
try {
  const { component } = await componentize({
    sourcePath: fileURLToPath(new URL("http.js", import.meta.url)),
    witPath: await interfaces(folder, join(packages, "jco", "lib", "wit", "builtin", "0.2.12")),
    worldName: "http",
  });
  await writeFile(output, component);
} finally {
  await rm(folder, { recursive: true });
}
