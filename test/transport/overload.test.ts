// One caller that asks too much of the engine, through a whole service.

import { join } from 'node:path'
import { expect, test } from '@jest/globals'
import { question, startTestService } from '../support/service.ts'
import { tempFolder } from '../support/temp-folder.ts'

test('a caller beyond its steps a second is told so, with a record, and answered again later', async () => {
  const folder = tempFolder({ token: 'a-token-of-enough-length-0123456789\n' })
  const policy = { 'p.rego': 'package p\n\n# METADATA\n# entrypoint: true\nd if sum([x | some x in numbers.range(1, 30)]) > 0\n' }
  const service = await startTestService(policy, {
    'authentication.decideTokenFile': join(folder, 'token'),
    'evaluation.callerStepsPerSecond': 20_000,
    // What is given again costs no steps.
    'cache.enabled': false,
  })
  const headers = { authorization: 'Bearer a-token-of-enough-length-0123456789' }
  const statuses: number[] = []
  for (let i = 0; i < 50; i++) {
    const answer = await service.decide(question, headers)
    statuses.push(answer.status)
    if (answer.status === 200) continue
    expect(answer.json.error.code).toBe('ERR_OVERLOADED')
    expect(answer.headers.get('retry-after')).not.toBeNull()
    break
  }
  expect(statuses[0]).toBe(200)
  expect(statuses.at(-1)).toBe(503)
  await new Promise((resolve) => setTimeout(resolve, 1_100))
  expect((await service.decide(question, headers)).status).toBe(200)
  const records = await service.stop()
  expect(records.filter(({ outcome }) => outcome === 'error')).toMatchObject([{ error: { code: 'ERR_OVERLOADED' } }])
})
