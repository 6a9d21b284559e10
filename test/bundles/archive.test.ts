import { gzipSync } from 'node:zlib'
import { describe, expect, test } from '@jest/globals'
import { type Header, pack } from 'tar-stream'
import { digestOf, readArchive, writeArchive } from '../../src/bundles/archive.ts'

async function archiveOf(entries: readonly (Partial<Header> & { name: string; content?: string })[]): Promise<Buffer> {
  const tar = pack()
  for (const { content, ...header } of entries) tar.entry(header, content ?? '')
  tar.finalize()
  const parts: Buffer[] = []
  for await (const part of tar) parts.push(part as Buffer)
  return gzipSync(Buffer.concat(parts))
}

describe('readArchive', () => {
  test.each([
    ['../escape', 'ERR_BUNDLE_PATH'],
    ['a/../../escape', 'ERR_BUNDLE_PATH'],
    ['C:\\windows', 'ERR_BUNDLE_PATH'],
    ['\\\\host\\share', 'ERR_BUNDLE_PATH'],
    ['a//b', 'ERR_BUNDLE_PATH'],
    ['trailing.', 'ERR_BUNDLE_PATH'],
    ['trailing ', 'ERR_BUNDLE_PATH'],
    ['a\u0001b', 'ERR_BUNDLE_PATH'],
  ])('refuses the path %j', async (name, code) => {
    await expect(readArchive(await archiveOf([{ name, content: 'x' }]))).rejects.toMatchObject({ code })
  })

  test.each(['symlink', 'link', 'fifo', 'character-device', 'block-device'] as const)('refuses a %s', async (type) => {
    await expect(readArchive(await archiveOf([{ name: 'a', type, linkname: 'b' }]))).rejects.toMatchObject({
      code: 'ERR_BUNDLE_ENTRY_TYPE',
    })
  })

  test.each([
    ['the same path', 'a', 'a'],
    ['the same path spelled with ./', 'a', './a'],
    ['paths that differ in case', 'a', 'A'],
    ['paths that differ in normalisation', '\u00e9', 'e\u0301'],
  ])('refuses %s twice', async (_what, one, two) => {
    await expect(readArchive(await archiveOf([{ name: one }, { name: two }]))).rejects.toMatchObject({ code: 'ERR_BUNDLE_DUPLICATE_ENTRY' })
  })

  test('refuses a bomb before it is unpacked whole', async () => {
    const bomb = gzipSync(Buffer.alloc(20 * 2 ** 20))
    await expect(readArchive(bomb, { maxUnpackedBytes: 2 ** 20, maxEntries: 10 })).rejects.toMatchObject({ code: 'ERR_BUNDLE_TOO_LARGE' })
  })

  test('refuses more files than allowed', async () => {
    const many = await archiveOf(Array.from({ length: 11 }, (_, i) => ({ name: `f${i}` })))
    await expect(readArchive(many, { maxUnpackedBytes: 2 ** 20, maxEntries: 10 })).rejects.toMatchObject({ code: 'ERR_BUNDLE_TOO_LARGE' })
  })

  test('refuses what is cut short anywhere', async () => {
    const whole = await archiveOf([{ name: 'a', content: 'x'.repeat(2_000) }])
    for (let length = 0; length < whole.length; length++) {
      await expect(readArchive(whole.subarray(0, length))).rejects.toMatchObject({ code: 'ERR_BUNDLE_INVALID' })
    }
  })
})

test('writeArchive gives the same bytes for the same files, and readArchive the same files', async () => {
  const files = new Map([
    ['b.rego', 'package b'],
    ['a/data.json', '{"n":1.0}'],
  ])
  const one = await writeArchive(files)
  const two = await writeArchive(new Map([...files].reverse()))
  expect(digestOf(one)).toBe(digestOf(two))
  expect(Object.fromEntries([...(await readArchive(one))].map(([path, content]) => [path, content.toString()]))).toEqual(
    Object.fromEntries(files),
  )
})
