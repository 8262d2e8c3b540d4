// Compile a C file to a Wasm module without a main function: node clang.mjs SOURCE TARGET
//
// Clang and its libc come from npm, where they are Wasm modules themselves: one version on every machine, in a second.
import { readFile, writeFile } from "node:fs/promises";
import { runClang } from "@yowasp/clang";

const [source, target] = process.argv.slice(2);
const built = await runClang(
  ["clang", "--target=wasm32-wasip1", "-mexec-model=reactor", "-O2", "-Wall", "-Werror", "module.c", "-o", "module.wasm"],
  { "module.c": await readFile(source, "utf8") },
  { fetchProgress: () => {} },
);
await writeFile(target, built["module.wasm"]);
