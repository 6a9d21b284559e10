// A plain question is one that the schema accepts, with nothing in it that the schema would read otherwise.
import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { decideRequestSchema, questionSchema } from '../../src/transport/decide-schema.ts'
import { isPlainQuestion } from '../../src/transport/plain-question.ts'

const odd = fc.constantFrom<unknown>(undefined, null, true, 0, '', 'x', 'x'.repeat(1024), 'x'.repeat(1025), [], ['x'], {}, { type: 'x' })
const text = fc.oneof({ weight: 12, arbitrary: fc.constantFrom('user', 'é', ' ') }, odd)
const part = (of: Record<string, fc.Arbitrary<unknown>>) =>
  fc.oneof(
    { weight: 12, arbitrary: fc.record({ ...of, properties: fc.oneof({ weight: 6, arbitrary: fc.constant(undefined) }, odd) }) },
    odd,
  )
const rare = (value: fc.Arbitrary<unknown>) => fc.oneof({ weight: 12, arbitrary: fc.constant(undefined) }, value)
const body = fc.record({
  subject: part({ type: text, id: text }),
  action: part({ name: text }),
  resource: part({ type: text, id: text }),
  context: fc.oneof({ weight: 6, arbitrary: fc.constantFrom<unknown>({}, { hour: 1 }, undefined) }, odd),
  policy: rare(fc.constantFrom<unknown>('main', 'main:a/b', 'a b', ':', '', 7, null)),
  evaluations: rare(fc.constantFrom<unknown>([], [{}], null, {})),
  options: rare(odd),
  token: rare(odd),
  min_epoch: rare(odd),
  explain: rare(odd),
  other: rare(odd),
})

test('what is plain, the schema accepts as one question', () => {
  let plain = 0
  fc.assert(
    fc.property(body, (value) => {
      const sent = JSON.parse(JSON.stringify(value)) as object
      if (!isPlainQuestion(sent)) return
      plain++
      const accepted = decideRequestSchema.safeParse(sent)
      expect(accepted.error).toBeUndefined()
      expect(accepted.data?.policy).toBe(sent.policy)
      const { evaluations, options, token, min_epoch, explain } = accepted.data ?? {}
      expect([evaluations, options, token, min_epoch, explain]).toEqual(Array(5).fill(undefined))
      expect(questionSchema.parse(sent)).toMatchObject({ subject: sent.subject, action: sent.action, resource: sent.resource })
    }),
    { numRuns: 20_000 },
  )
  expect(plain).toBeGreaterThan(500)
})

test('what clients usually send is plain', () => {
  const usual = { subject: { type: 'user', id: 'a' }, action: { name: 'read' }, resource: { type: 'doc', id: '1', properties: { a: 1 } } }
  expect(isPlainQuestion(usual)).toBe(true)
  expect(isPlainQuestion({ ...usual, context: { hour: 1 }, policy: 'main:authz/allow', other: 1 })).toBe(true)
  expect(isPlainQuestion({ ...usual, explain: true })).toBe(false)
})
