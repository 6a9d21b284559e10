import { createHash } from 'node:crypto'
import { copyFileSync, readFileSync } from 'node:fs'
import { zstdDecompressSync } from 'node:zlib'
import { expect, test } from '@jest/globals'
import { loadToolchainModule } from '../../src/rego/artifact.ts'
import { tempFolder } from '../support/temp-folder.ts'

const folder = new URL('../../src/rego/toolchain/', import.meta.url)

test('the committed toolchain is what its checksum says', () => {
  const wasm = zstdDecompressSync(readFileSync(new URL('toolchain.wasm.zst', folder)))
  const expected = readFileSync(new URL('toolchain.wasm.sha256', folder), 'utf8').trim()
  expect(createHash('sha256').update(wasm).digest('hex')).toBe(expected)
  expect(loadToolchainModule().sha256).toBe(expected)
})

test.each([
  ['missing', {}],
  ['not what its checksum says', { 'toolchain.wasm.sha256': `${'0'.repeat(64)}\n` }],
  ['damaged', { 'toolchain.wasm.zst': 'nonsense' }],
])('a toolchain that is %s is refused', (what, files) => {
  const bad = tempFolder(files)
  if (what === 'not what its checksum says') copy('toolchain.wasm.zst', bad)
  expect(() => loadToolchainModule(new URL(`file://${bad}/`))).toThrow(expect.objectContaining({ code: 'ERR_TOOLCHAIN' }))
})

function copy(name: string, to: string): void {
  copyFileSync(new URL(name, folder), `${to}/${name}`)
}
