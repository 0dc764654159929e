// Worker threads with shared memory, child processes of three kinds, a server on loopback, compiled WebAssembly.
import { exec, fork, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, writeFile } from 'node:fs/promises';
import http from 'node:http';
import { promisify } from 'node:util';
import { Worker, isMainThread, workerData } from 'node:worker_threads';

const self = new URL(import.meta.url).pathname;
if (!isMainThread) {
  for (let i = 0; i < 100000; i++) Atomics.add(workerData, 0, 1);
} else if (process.send) {
  process.once('message', (text) => process.send(`${text}!`, () => process.exit()));
} else {
  const shared = new Int32Array(new SharedArrayBuffer(4));
  const workers = [1, 2, 3, 4].map(() => new Worker(self, { workerData: shared }));
  await Promise.all(workers.map((worker) => once(worker, 'exit')));
  console.log('workers', shared[0]);

  console.log('spawn', spawnSync('sh', ['-c', 'cat'], { input: 'piped' }).stdout.toString());
  console.log('exec', (await promisify(exec)('echo $((6 * 7))')).stdout.trim());
  const child = fork(self);
  child.send('hello');
  console.log('fork', (await once(child, 'message'))[0]);

  const server = http.createServer((request, response) => response.end(`served ${request.url}`));
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const answer = await fetch(`http://127.0.0.1:${server.address().port}/page`);
  console.log('server', await answer.text());
  server.close();

  const file = `${await mkdtemp('./node-')}/file`;
  await Promise.all(Array.from({ length: 32 }, (_, i) => writeFile(`${file}${i}`, 'x'.repeat(i))));
  console.log('files', (await readFile(`${file}31`)).length);

  // (module (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add))
  const wasm = Buffer.from('0061736d0100000001070160027f7f017f030201000707010361646400000a09010700200020016a0b', 'hex');
  const { instance } = await WebAssembly.instantiate(wasm);
  let sum = 0;
  for (let i = 0; i < 1e6; i++) sum = instance.exports.add(sum, 1);
  console.log('wasm', sum);
}
