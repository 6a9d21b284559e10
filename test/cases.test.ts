// Questions on which Verdict's engine and OPA's evaluator once differed: each must get OPA's answer, for good.
// New ones come from npm run differential, which writes what it finds to test/cases/.

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, expect, test } from '@jest/globals'
import { Engines, type Question } from './differential/engines.ts'

const folder = join(import.meta.dirname, 'cases')
const engines = new Engines()
afterAll(() => engines.close())

test.each(readdirSync(folder).filter((name) => name.endsWith('.json')))('%s', async (name) => {
  const question = JSON.parse(readFileSync(join(folder, name), 'utf8')) as Question
  expect(await engines.differ(question)).toBeUndefined()
  expect(engines.discarded).toBe(0)
})
