// Guides of docs/, run as they stand: every command of one, in one shell, in an empty folder.
import { execFile } from 'node:child_process'
import { chmodSync, readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { tempFolder } from './temp-folder.ts'

const root = resolve(import.meta.dirname, '../..')

export async function runGuide(name: string): Promise<{ readonly code: number; readonly output: string; readonly blocks: number }> {
  const text = readFileSync(`${root}/docs/${name}`, 'utf8')
  const blocks = [...text.matchAll(/^```sh\n([\s\S]*?)^```$/gm)].map(([, commands]) => commands)
  const verdict = `#!/bin/sh\nexec "${process.execPath}" --disable-warning=ExperimentalWarning "${root}/src/main.ts" "$@"\n`
  const bin = tempFolder({ verdict })
  chmodSync(`${bin}/verdict`, 0o755)
  const script = `set -euo pipefail\ntrap 'kill $(jobs -p)' EXIT\n${blocks.join('\n')}`
  return new Promise((done) =>
    execFile(
      'bash',
      ['-c', script],
      { cwd: tempFolder(), env: { PATH: `${bin}:${process.env.PATH}` }, timeout: 110_000 },
      (error, stdout, stderr) => done({ code: error === null ? 0 : 1, output: `${stdout}\n${stderr}`, blocks: blocks.length }),
    ),
  )
}
