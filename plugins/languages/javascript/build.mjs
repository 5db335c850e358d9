// Builds a component of one of Grace's worlds from a JavaScript module:
//   npm install @bytecodealliance/componentize-js
//   node build.mjs SOURCE.js WIT-FOLDER WORLD OUT.wasm
// `fetch` and `http` are left out, because `wasi:http` is no part of Grace's worlds.
import { writeFile } from 'node:fs/promises';
import { componentize } from '@bytecodealliance/componentize-js';

const [sourcePath, witPath, worldName, out] = process.argv.slice(2);
const { component } = await componentize({
  sourcePath,
  witPath,
  worldName,
  disableFeatures: ['http', 'fetch-event'],
});
await writeFile(out, component);
