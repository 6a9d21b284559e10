import { symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from '@jest/globals'
import { readArchive, writeArchive } from '../../src/bundles/archive.ts'
import { buildBundle } from '../../src/bundles/build-bundle.ts'
import { listFiles, readFolder } from '../../src/bundles/folder.ts'
import { readBundle } from '../../src/bundles/read-bundle.ts'
import { tempFolder } from '../support/temp-folder.ts'
import { toolchain } from '../support/toolchain.ts'

const files = {
  'p/p.rego': 'package p\n\n# METADATA\n# entrypoint: true\nallow if input.user in data.q.users\n',
  'p/p_test.rego': 'package p_test\n\nimport data.p\n\ntest_allow if p.allow with input as {"user": "a"} with data.q.users as ["a"]\n',
  'q/data.yaml': 'users: [a, b]\n',
  '.manifest': '{"revision":"r1","metadata":{"default_entrypoint":"p/allow","owner":"team"}}',
  'notes.txt': 'not read',
  '.hidden/x.rego': 'not rego',
  'node_modules/y.rego': 'not rego',
}

const build = async (folder: string) => buildBundle(await readFolder(folder, toolchain), toolchain)

describe('a folder', () => {
  test('is read without what is hidden', async () => {
    expect(await listFiles(tempFolder(files))).toEqual(['.manifest', 'p/p.rego', 'p/p_test.rego', 'q/data.yaml'])
  })

  test('may consist of links, as Kubernetes mounts volumes', async () => {
    const real = tempFolder({ 'p.rego': 'package p\n' })
    const folder = tempFolder()
    symlinkSync(join(real, 'p.rego'), join(folder, 'p.rego'))
    expect(await listFiles(folder)).toEqual(['p.rego'])
  })

  test('becomes a bundle, always the same one', async () => {
    const [one, two] = [await build(tempFolder(files)), await build(tempFolder(files))]
    expect(Buffer.compare(one, two)).toBe(0)
    const bundle = await readBundle(one)
    expect(bundle.manifest).toMatchObject({ revision: 'r1', wasm: [{ entrypoint: 'p/allow' }], metadata: { owner: 'team' } })
    expect(bundle.manifest.metadata.verdict?.reads['p/allow']?.input).toEqual([['user']])
    expect(bundle.data).toBe('{"q":{"users":["a","b"]}}')
    expect(Object.keys(bundle.modules)).toEqual(['p/p.rego', 'p/p_test.rego'])
  })

  test('without an entrypoint says how to mark one', async () => {
    await expect(build(tempFolder({ 'p.rego': 'package p\n\nx := 1\n' }))).rejects.toMatchObject({
      code: 'ERR_REGO',
      message: expect.stringContaining('entrypoint: true'),
    })
  })

  test('that does not exist is named', async () => {
    await expect(readFolder('/nonexistent-folder', toolchain)).rejects.toMatchObject({
      code: 'ERR_FILE',
      message: expect.stringContaining('/nonexistent-folder'),
    })
  })
})

test('an archive without policy.wasm is refused, with what to do', async () => {
  await expect(readBundle(await writeArchive(new Map([['data.json', '{}']])))).rejects.toMatchObject({
    code: 'ERR_BUNDLE_INVALID',
    message: expect.stringContaining('verdict build'),
  })
})

test('a cut bundle never reads', async () => {
  const whole = await build(tempFolder({ 'p.rego': 'package p\n\n# METADATA\n# entrypoint: true\nx := 1\n' }))
  for (let i = 0; i < 200; i++) {
    await expect(readBundle(whole.subarray(0, Math.floor((whole.length * i) / 200)))).rejects.toMatchObject({
      code: expect.stringMatching(/^ERR_BUNDLE/),
    })
  }
  expect((await readArchive(whole)).size).toBe(4)
})
