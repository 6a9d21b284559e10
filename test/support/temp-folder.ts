// A folder that lives as long as a test file.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll } from '@jest/globals'

const made: string[] = []
const users: (() => Promise<void>)[] = []

afterAll(async () => {
  for (const end of users) await end()
  for (const folder of made) rmSync(folder, { recursive: true, force: true })
})

/** @param files contents by relative path */
export function tempFolder(files: Readonly<Record<string, string>> = {}): string {
  const folder = mkdtempSync(join(tmpdir(), 'verdict-test-'))
  made.push(folder)
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true })
    writeFileSync(join(folder, path), text)
  }
  return folder
}

/** What has folders of this file in use ends before they go. */
export function endsBeforeFolders(end: () => Promise<void>): void {
  users.push(end)
}
