// The starter policies are checked as their readers are told to check theirs.
import { expect, test } from '@jest/globals'
import { readFolder } from '../src/bundles/folder.ts'
import { toolchain } from './support/toolchain.ts'

const folder = new URL('../policies', import.meta.url).pathname

test('compile strictly against their input schema, formatted, every test passing, every line covered', async () => {
  const { modules, data, inputSchema } = await readFolder(folder, toolchain)
  expect(inputSchema).toBeDefined()
  await toolchain.check({ files: modules }, inputSchema, true)
  expect(await toolchain.format({ files: modules })).toEqual({})
  const { results, coverage } = await toolchain.test({ files: modules }, data)
  expect(results.filter((r) => r.outcome !== 'pass')).toEqual([])
  expect(results.length).toBeGreaterThan(20)
  expect(coverage.coverage).toBe(100)
})
