#!/usr/bin/env node
// The program `verdict` of the published package: runs dist/main.js on a Node.js that is new enough.
import { spawn } from 'node:child_process'
import process from 'node:process'
import { fileURLToPath } from 'node:url'
import { findNode24, noNode24 } from './node24.mjs'

const node = findNode24()
if (node === undefined) {
  process.stderr.write(noNode24)
  process.exit(3)
}
const main = fileURLToPath(new URL('../dist/main.js', import.meta.url))
const child = spawn(node, ['--disable-warning=ExperimentalWarning', main, ...process.argv.slice(2)], { stdio: 'inherit' })
for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP']) process.on(signal, () => child.kill(signal))
child.on('exit', (code, signal) => {
  if (signal === null) process.exit(code)
  for (const name of ['SIGTERM', 'SIGINT', 'SIGHUP']) process.removeAllListeners(name)
  process.kill(process.pid, signal)
})
