// What a manifest owns: roots that overlap, and data or entrypoints outside of them, are refused (groups F8 and F11).
import { expect, test } from '@jest/globals'
import { parseManifest } from '../../src/bundles/bundle.ts'
import { checkPathInRoots, checkRoots } from '../../src/bundles/roots.ts'

const manifest = (roots: string[] | undefined, entrypoints: string[] = []) =>
  parseManifest(JSON.stringify({ ...(roots && { roots }), wasm: entrypoints.map((entrypoint) => ({ entrypoint })) }))
const refusal = expect.objectContaining({ code: 'ERR_BUNDLE_ROOTS' })

test.each<[string[] | undefined, string, string[]]>([
  [undefined, '{"a":1}', ['x/y']],
  [[''], '{"a":1}', ['x/y']],
  [['a', 'b/c'], '{"a":1,"b":{"c":{"d":1}}}', ['a/allow', 'b/c']],
  [['a/b', 'a/bc'], '{"a":{"b":1,"bc":2}}', []],
  [['a'], '{}', []],
])('roots %j own %s and %j', (roots, data, entrypoints) => expect(() => checkRoots(manifest(roots, entrypoints), data)).not.toThrow())

test.each<[string[], string, string[]]>([
  [['a', 'a'], '{}', []],
  [['a', 'a/b'], '{}', []],
  [['a/', '/a'], '{}', []],
  [['', 'a'], '{}', []],
  [['a'], '{"b":1}', []],
  [['a/b'], '{"a":{"b":1,"c":1}}', []],
  [['a/b'], '{"a":1}', []],
  [['a/b'], '{"a":{"bc":1}}', []],
  [['a'], '{"\\u0061b":1}', []],
  [['a'], '{}', ['ab/allow']],
  [[], '{"a":1}', []],
])('roots %j do not go with %s and %j', (roots, data, entrypoints) =>
  expect(() => checkRoots(manifest(roots, entrypoints), data)).toThrow(refusal),
)

test('a change of data stays below the roots', () => {
  expect(() => checkPathInRoots(manifest(['a/b']), ['a', 'b', 'c'])).not.toThrow()
  expect(() => checkPathInRoots(manifest(['a/b']), ['a'])).toThrow(refusal)
  expect(() => checkPathInRoots(manifest(['a/b']), ['a', 'bc'])).toThrow(refusal)
  expect(() => checkPathInRoots(manifest(undefined), ['z'])).not.toThrow()
})
