// Delta bundles: OPA's operations on the data of one archive that they name.
import { describe, expect, test } from '@jest/globals'
import { readArchive, writeArchive } from '../../src/bundles/archive.ts'
import { applyDelta, readDelta } from '../../src/bundles/delta.ts'
import { readBundle } from '../../src/bundles/read-bundle.ts'
import { archiveOf } from '../support/bundles.ts'

const base = await archiveOf({
  'p.rego': 'package p\n\n# METADATA\n# entrypoint: true\nallow if data.users[input.id]\n',
  'data.json': '{"users":{"ann":true},"n":1.10}',
})
const bundle = await readBundle(base)
const named = { revision: 'r2', metadata: { base: bundle.digest } }
const filesOf = async (more: Record<string, string>, manifest: object = named) =>
  readArchive(await writeArchive(new Map(Object.entries({ '.manifest': JSON.stringify(manifest), ...more }))))
const deltaOf = async (operations: object[], manifest?: object) => {
  const delta = readDelta(await filesOf({ 'patch.json': JSON.stringify({ data: operations }) }, manifest))
  if (delta === undefined) throw new Error('no delta')
  return delta
}
const apply = async (...operations: object[]) => (await applyDelta(bundle, await deltaOf(operations))).data

test('upsert makes what is missing, replace and remove want it there; digits and revision are kept', async () => {
  const changed = await applyDelta(
    bundle,
    await deltaOf([
      { op: 'upsert', path: '/users/bob', value: true },
      { op: 'upsert', path: '/deep/er/x', value: [1] },
      { op: 'replace', path: '/users/ann', value: false },
    ]),
  )
  expect(changed.data).toBe('{"users":{"ann":false,"bob":true},"n":1.10,"deep":{"er":{"x":[1]}}}')
  expect(changed.manifest.revision).toBe('r2')
  expect(Buffer.from(changed.wasm).equals(Buffer.from(bundle.wasm))).toBe(true)
  expect(changed.digest).not.toBe(bundle.digest)
  expect(await apply({ op: 'remove', path: '/users/ann' })).toBe('{"users":{},"n":1.10}')
})

test('many operations on much data take as long as both together, not as their product', async () => {
  const users = Object.fromEntries(Array.from({ length: 20_000 }, (_, i) => [`u${i}`, { roles: ['reader'], n: i }]))
  const large = await readBundle(
    await archiveOf({ 'p.rego': 'package p\n\n# METADATA\n# entrypoint: true\nallow := true\n', 'data.json': JSON.stringify({ users }) }),
  )
  const operations = Array.from({ length: 20_000 }, (_, i) => ({ op: 'upsert', path: `/users/u${i}/seen/at`, value: i }))
  const delta = await deltaOf(operations, { metadata: { base: large.digest } })
  const began = performance.now()
  const changed = JSON.parse((await applyDelta(large, delta)).data)
  expect(performance.now() - began).toBeLessThan(5_000)
  expect(changed.users.u19999).toEqual({ roles: ['reader'], n: 19_999, seen: { at: 19_999 } })
})

describe('refused', () => {
  test.each([
    [{ op: 'remove', path: '/users/eve' }],
    [{ op: 'replace', path: '/users/eve', value: 1 }],
    [{ op: 'upsert', path: '/n/x', value: 1 }],
    [{ op: 'upsert', path: 'users', value: 1 }],
    [{ op: 'upsert', path: '/users/x' }],
    [{ op: 'upsert', path: '', value: [] }],
  ])('%j', async (operation) => expect(apply(operation)).rejects.toMatchObject({ code: 'ERR_BUNDLE_DATA' }))

  test('outside the roots of the delta', async () => {
    const delta = await deltaOf([{ op: 'upsert', path: '/n', value: 2 }], { roots: ['users'], metadata: { base: bundle.digest } })
    await expect(applyDelta(bundle, delta)).rejects.toMatchObject({ code: 'ERR_BUNDLE_ROOTS' })
  })

  test.each<[string, Record<string, string>, object]>([
    ['policies beside the change', { 'patch.json': '{"data":[]}', 'p.rego': 'package p' }, named],
    ['data beside the change', { 'patch.json': '{"data":[]}', 'data.json': '{}' }, named],
    ['no base', { 'patch.json': '{"data":[]}' }, { revision: 'r2' }],
    ['no list', { 'patch.json': '{"data":{}}' }, named],
    ['a key twice', { 'patch.json': '{"data":[{"op":"remove","path":"/n","path":"/users"}]}' }, named],
    ['an operation of another kind', { 'patch.json': '{"data":[{"op":"add","path":"/n","value":1}]}' }, named],
  ])('%s', async (_name, files, manifest) => {
    const read = await filesOf(files, manifest)
    expect(() => readDelta(read)).toThrow(expect.objectContaining({ code: 'ERR_BUNDLE_INVALID' }))
  })

  test('what is no delta is told as that', async () => expect(readDelta(await readArchive(base))).toBeUndefined())
})
