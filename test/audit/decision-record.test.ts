import { describe, expect, test } from '@jest/globals'
import { createRecordWriter, type RecordOptions } from '../../src/audit/decision-record.ts'
import { recordSchema } from '../../src/audit/record-schema.ts'
import type { RecordedDecision } from '../../src/decision/decision.ts'
import type { DecisionRequest } from '../../src/decision/request.ts'
import { PdpError } from '../../src/errors.ts'

const request: DecisionRequest = {
  door: 'decide',
  correlationId: 'c\u001b[31m"1',
  trace: { traceId: 'a'.repeat(32), spanId: 'b'.repeat(16), parentId: 'c'.repeat(16), isSampled: false },
  caller: { authenticated: false, address: '127.0.0.1' },
  timeMs: 1_772_618_400_123,
  subject: '{"type":"user","id":"alice","properties":{"ssn":"canary"}}',
  action: '{"name":"read"}',
  resource: '{"type":"doc","id":"1","properties":{"n":1.0}}',
  input: '{"subject":{"type":"user","id":"alice","properties":{"ssn":"canary"}},"n":12345678901234567890}',
}
const decision: RecordedDecision = {
  id: '855ab5e6-da3c-47f5-9be8-ce68370f22ca',
  outcome: 'allow',
  policy: { bundle: 'main', entrypoint: 'a/b', revision: 'r', digest: `sha256:${'0'.repeat(64)}`, epoch: 3 },
  reasons: '["because"]',
  maxAgeMs: 0,
  cached: false,
  steps: 42,
  trusted: '{"caller":{"authenticated":false}}',
}
const options: RecordOptions = { shard: '0', mask: [], maxInputBytes: 1_000, labels: { env: 'test' } }
const write = (more: Partial<RecordOptions> = {}, d = decision, r = request) => createRecordWriter({ ...options, ...more })(r, d, 7, 12)

describe('a record', () => {
  test('is one line that fits its schema', () => {
    const line = write()
    expect(line.endsWith('}\n')).toBe(true)
    expect(line.slice(0, -1)).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/)
    expect(recordSchema.safeParse(JSON.parse(line)).error).toBeUndefined()
  })

  test('keeps digits, also under a mask', () => {
    for (const line of [write(), write({ mask: ['/subject/properties/ssn'] })]) {
      expect(line).toContain('"n":1.0')
      expect(line).toContain('12345678901234567890')
    }
  })

  test('of an error has its code', () => {
    const line = write({}, { ...decision, outcome: 'error', error: new PdpError('ERR_STEPS_EXHAUSTED', 'too many "steps"') })
    expect(JSON.parse(line)).toMatchObject({
      decision: false,
      outcome: 'error',
      error: { code: 'ERR_STEPS_EXHAUSTED', message: 'too many "steps"' },
    })
    expect(recordSchema.safeParse(JSON.parse(line)).error).toBeUndefined()
  })

  test.each(['/subject/properties/ssn', '/input/subject/properties/ssn', '/subject/properties/*', '/subject/*/ssn'])(
    'masked at %s shows the value nowhere',
    (pointer) => {
      const line = write({ mask: [pointer] })
      expect(line).not.toContain('canary')
      expect(JSON.parse(line)).toMatchObject({ masked: [pointer], replayable: 'masked', subject: { type: 'user' } })
    },
  )

  test.each<[readonly string[], string, object]>([
    [['/input/context/secret'], 'canary2', { input: { context: { secret: null, n: 1 } } }],
    [['/input/context/secret', '/caller/id'], 'gw-1', { caller: { id: null }, input: { context: { secret: null } } }],
    [['/input'], 'canary2', { input: null }],
    [['/reasons'], 'because', { reasons: null }],
    [['/labels/env'], 'test', { labels: { env: null } }],
    [['/*/context/secret'], 'canary2', { input: { context: { secret: null } } }],
  ])('is masked at %j wherever that is', (mask, hidden, wanted) => {
    const input = '{"context":{"secret":"canary2","n":1}}'
    const caller = { authenticated: true, id: 'gw-1' }
    const line = write({ mask }, { ...decision, reasons: '["because"]' }, { ...request, caller, input })
    expect(line).not.toContain(hidden)
    expect(JSON.parse(line)).toMatchObject({ ...wanted, masked: mask })
  })

  test('of which a mask names nothing is left alone', () => {
    const mask = ['/input/context/other', '/input/context', '/caller/other', '/other']
    expect(JSON.parse(write({ mask }, decision, { ...request, input: '{"n":1}' }))).toMatchObject({ masked: [], replayable: true })
    expect(JSON.parse(write({ mask }, decision, { ...request, input: undefined }))).toMatchObject({ masked: [], replayable: true })
  })

  test('of a large input has its hash and its size', () => {
    const input = `{"x":"${'é'.repeat(600)}"}`
    const record = JSON.parse(write({}, decision, { ...request, input }))
    expect(record).toMatchObject({ replayable: 'truncated', input: { truncated: true, bytes: 1_208 } })
    expect(record.input.sha256).toMatch(/^[0-9a-f]{64}$/)
  })
})
