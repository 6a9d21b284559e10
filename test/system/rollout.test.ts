// The tutorial of docs/rollout.md: every command of it, in one shell, in an empty folder.
import { execFile } from 'node:child_process'
import { chmodSync, readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { expect, test } from '@jest/globals'
import { tempFolder } from '../support/temp-folder.ts'

const root = resolve(import.meta.dirname, '../..')

test('docs/rollout.md, as it stands', async () => {
  const text = readFileSync(`${root}/docs/rollout.md`, 'utf8')
  const blocks = [...text.matchAll(/^```sh\n([\s\S]*?)^```$/gm)].map(([, commands]) => commands)
  expect(blocks.length).toBeGreaterThan(3)
  const verdict = `#!/bin/sh\nexec "${process.execPath}" --disable-warning=ExperimentalWarning "${root}/src/main.ts" "$@"\n`
  const bin = tempFolder({ verdict })
  chmodSync(`${bin}/verdict`, 0o755)
  const script = `set -euo pipefail\ntrap 'kill $(jobs -p)' EXIT\n${blocks.join('\n')}`
  const { code, output } = await new Promise<{ code: number; output: string }>((done) =>
    execFile(
      'bash',
      ['-c', script],
      { cwd: tempFolder(), env: { PATH: `${bin}:${process.env.PATH}` }, timeout: 110_000 },
      (error, stdout, stderr) => done({ code: error === null ? 0 : 1, output: `${stdout}\n${stderr}` }),
    ),
  )
  expect([code, output]).toEqual([
    0,
    expect.stringMatching(/held: 1 approval missing[\s\S]*active, epoch 1[\s\S]*active, epoch 2[\s\S]*bob rolled_back main \w+ epoch 3/),
  ])
}, 120_000)
