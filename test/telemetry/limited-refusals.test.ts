// Whoever can be refused cannot fill the log, and what was left out is counted.
import { expect, test } from '@jest/globals'
import { limitRefusals } from '../../src/telemetry/limited-refusals.ts'

test('a burst is written, then a few each second, each kind for itself; the next line says how many were left out', () => {
  let now = 0
  const limit = limitRefusals(() => now)
  const facts = { code: 'ERR_UNAUTHENTICATED', peer: 'x' }
  const written = () => Array.from({ length: 1_000 }, () => limit(facts)).filter((one) => one !== undefined)
  expect(written()).toHaveLength(50)
  expect(limit({ code: 'ERR_BAD_HTTP' })).toEqual({ code: 'ERR_BAD_HTTP' })
  now += 1_000
  const later = written()
  expect(later).toHaveLength(10)
  expect([later[0], later[1]]).toEqual([{ ...facts, suppressed: 950 }, facts])
  now -= 500_000
  expect(written()).toEqual([])
})

test('what is no refusal is always written', () => {
  const limit = limitRefusals(() => 0)
  for (const facts of ['text', { bundle: 'main' }, { code: 7 }, undefined])
    for (let i = 0; i < 100; i++) if (facts !== undefined) expect(limit(facts)).toBe(facts)
})
