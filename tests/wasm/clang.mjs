// Compile a C file to a Wasm module: node clang.mjs SOURCE TARGET [MODEL]
// MODEL is "command" for a program with a main function; else it has none ("reactor").
//
// Clang and its libc come from npm, where they are Wasm modules themselves: one version on every machine, in a second.
import { readFile, writeFile } from "node:fs/promises";
import { setFlagsFromString } from "node:v8";
import { runClang } from "@yowasp/clang";

setFlagsFromString("--liftoff-only"); // Clang runs for a moment: to compile 100 MB of it well takes longer than it does
const [source, target, model = "reactor"] = process.argv.slice(2);
const built = await runClang(
  ["clang", "--target=wasm32-wasip1", `-mexec-model=${model}`, "-O2", "-Wall", "-Werror", "module.c", "-o", "module.wasm"],
  { "module.c": await readFile(source, "utf8") },
  { fetchProgress: () => {} },
);
await writeFile(target, built["module.wasm"]);
