// Makes a component of hemisphere.js: node build.mjs [OUT.wasm]

import { rename, readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { componentize } from "@bytecodealliance/componentize-js";

const path = (relative) => fileURLToPath(new URL(relative, import.meta.url));
const out = process.argv[2] ?? path("../hemisphere.wasm");

// The API, because `jco componentize` fails on Node 20. Without these features the component imports
// nothing but the WIT's types: there is no clock, randomness, console or network to be had from the host.
const { component, imports } = await componentize(await readFile(path("hemisphere.js"), "utf8"), {
  sourceName: "hemisphere.js",
  witPath: path("../../wit"),
  worldName: "transformer",
  disableFeatures: ["random", "stdio", "clocks", "http", "fetch-event"],
});
await writeFile(`${out}.new`, component);
await rename(`${out}.new`, out);
console.log(`${out}: ${component.length} bytes, imports ${JSON.stringify(imports)}`);
