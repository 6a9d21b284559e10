// What /v1/decide answers, and what it leaves in the record.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from '@jest/globals'
import { listSegments } from '../../src/audit/log-files.ts'
import { recordSchema } from '../../src/audit/record-schema.ts'
import { decideAnswerSchema, errorAnswerSchema } from '../../src/transport/decide-schema.ts'
import { infoSchema } from '../../src/transport/http/admin-routes.ts'
import { question, startTestService } from '../support/service.ts'
import { tempFolder } from '../support/temp-folder.ts'

const policy = {
  'p.rego': `package p

# METADATA
# entrypoint: true
decision := {
	"allow": allow,
	"reasons": [r | some r in ["not alice"]; not allow],
	"obligations": [{"log": 1.0} | allow],
	"context": {"hint": "h", "reasons": "taken", "error": "taken"},
	"cache": {"max_age_ms": 250},
}

default allow := false

allow if input.subject.id == "alice"

# METADATA
# entrypoint: true
maybe if input.subject.id == "alice"

# METADATA
# entrypoint: true
odd := input.context.value

# METADATA
# entrypoint: true
trusted := {"allow": true, "context": {"trusted": input.trusted}}

# METADATA
# entrypoint: true
slow if {
	some i, j, k
	input.context.a[i] + input.context.a[j] == input.context.a[k] + 0.5
}
`,
  '.manifest': '{"revision":"r7","metadata":{"default_entrypoint":"p/decision"}}',
}
const bob = { ...question, subject: { type: 'user', id: 'bob' } }

describe('one question', () => {
  test('is answered with decision, reasons, obligations and the policy that said so', async () => {
    const service = await startTestService(policy)
    const allow = await service.decide(question)
    expect(allow.status).toBe(200)
    expect(allow.headers.get('content-type')).toBe('application/json; charset=utf-8')
    expect(allow.headers.get('cache-control')).toBe('no-store')
    expect(decideAnswerSchema.safeParse(allow.json).error).toBeUndefined()
    expect(allow.json).toMatchObject({
      decision: true,
      context: { hint: 'h', reasons: [], obligations: [{ log: 1 }] },
      policy: { bundle: 'main', entrypoint: 'p/decision', revision: 'r7', epoch: 1 },
      cache: { max_age_ms: 250 },
    })
    expect(allow.json.context.error).toBeUndefined()
    expect(allow.text).toContain('"log":1.0')
    const deny = await service.decide(bob)
    expect(deny.json).toMatchObject({ decision: false, context: { reasons: ['not alice'], obligations: [] } })

    const records = await service.stop()
    expect(records.map((r) => [r.id, r.seq, r.outcome])).toEqual([
      [allow.json.id, 1, 'allow'],
      [deny.json.id, 2, 'deny'],
    ])
    expect(records[0]?.correlation_id).toBe(allow.headers.get('x-request-id'))
    for (const record of records) expect(recordSchema.safeParse(record).error).toBeUndefined()
  })

  test.each([
    ['true', true, undefined],
    ['1', false, ['not_a_boolean_decision']],
    ['"true"', false, ['not_a_boolean_decision']],
    ['null', false, ['not_a_boolean_decision']],
    ['[true]', false, ['not_a_boolean_decision']],
    ['{"decision":true,"allow":false}', false, ['contradictory_decision']],
  ])('a policy that says %s decides %s', async (value, decision, reasons) => {
    const service = await startTestService(policy)
    const answer = await service.decide(`{"policy":"main:p/odd","context":{"value":${value}},${JSON.stringify(question).slice(1)}`)
    expect([answer.status, answer.json.decision, answer.json.context.reasons]).toEqual([200, decision, reasons])
    await service.stop()
  })

  test('the record is one line of harmless characters, whatever the request and the policy wrote', async () => {
    const service = await startTestService(policy)
    const odd = '\u2028\u2029\u007f\u009b'
    const value = `{\n"allow"\n:true,"reasons":["${odd}"],\r\n"obligations":["${odd}"]}`
    const parts = JSON.stringify({ ...question, subject: { ...question.subject, properties: { odd } } }, undefined, 1).slice(1)
    for (const body of [`{"context":{"value":${value}},${parts}`, `{"evaluations":[{"context":\n{"value":${value}}}],${parts}`]) {
      expect((await service.decide(body.replace('{', '{"policy":"main:p/odd",'))).status).toBe(200)
    }
    const records = await service.stop()
    expect(records.map(({ decision, reasons, subject }) => [decision, reasons, subject])).toEqual(
      Array(2).fill([true, [odd], { ...question.subject, properties: { odd } }]),
    )
    const folder = join(service.state, 'decisions')
    const text = listSegments(folder)
      .map((name) => readFileSync(join(folder, name), 'utf8'))
      .join('')
    expect(text.split('\n')).toHaveLength(3)
    expect(text.replaceAll('\n', '')).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/)
  })

  test('an undefined decision is a deny with its reason, no error', async () => {
    const service = await startTestService(policy)
    const answer = await service.decide({ ...bob, policy: 'main:p/maybe' })
    expect(answer.json).toMatchObject({ decision: false, context: { reasons: ['undefined_decision'] } })
    expect((await service.stop())[0]).toMatchObject({ outcome: 'deny' })
  })

  test('an evaluation without end is a deny with its code, recorded as an error', async () => {
    const service = await startTestService(policy, { 'evaluation.maxSteps': 100_000 })
    const a = Array.from({ length: 500 }, (_, i) => i)
    const answer = await service.decide({ ...question, policy: 'main:p/slow', context: { a } })
    expect([answer.status, answer.json.decision, answer.json.context.error.code]).toEqual([200, false, 'ERR_STEPS_EXHAUSTED'])
    expect((await service.stop())[0]).toMatchObject({
      outcome: 'error',
      decision: false,
      error: { code: 'ERR_STEPS_EXHAUSTED' },
      policy: { epoch: 1 },
    })
  })

  test('what the caller sends as trusted is not what the policy sees', async () => {
    const service = await startTestService(policy)
    const answer = await service.decide({ ...question, policy: 'main:p/trusted', trusted: { caller: { id: 'root' } } })
    expect(answer.json.context.trusted).toMatchObject({ caller: { authenticated: false, address: '127.0.0.1' } })
    expect(answer.json.context.trusted.caller.id).toBeUndefined()
    expect(answer.json.context.trusted.time / 1e6).toBeCloseTo(Date.now(), -5)
    await service.stop()
  })

  test('a token that nobody can verify denies', async () => {
    const service = await startTestService(policy)
    const answer = await service.decide({ ...question, token: 'x.y.z' })
    expect([answer.status, answer.json.decision, answer.json.context.error.code]).toEqual([200, false, 'ERR_TOKEN_INVALID'])
    expect(JSON.stringify(await service.stop())).not.toContain('x.y.z')
  })

  test('min_epoch beyond the epoch denies', async () => {
    const service = await startTestService(policy)
    expect((await service.decide({ ...question, min_epoch: 1 })).json.decision).toBe(true)
    const answer = await service.decide({ ...question, min_epoch: 2 })
    expect([answer.status, answer.json.decision, answer.json.context.error.code]).toEqual([200, false, 'ERR_STALE_EPOCH'])
    await service.stop()
  })

  test('explain adds the trace of the rules', async () => {
    const service = await startTestService(policy)
    const answer = await service.decide({ ...question, explain: true })
    expect(answer.json.decision).toBe(true)
    expect(answer.json.explanation.join('\n')).toMatch(/p\.rego:\d+/)
    await service.stop()
  })

  test('more explanations than can be made at once leave decisions as they are', async () => {
    const service = await startTestService(policy)
    const answers = await Promise.all(Array.from({ length: 12 }, () => service.decide({ ...question, explain: true })))
    expect(answers.every(({ json }) => json.decision === true)).toBe(true)
    expect(answers.filter(({ json }) => json.explanation[0].startsWith('too many')).length).toBeGreaterThan(0)
    await service.stop()
  })

  test('the trace of the caller goes on in the record', async () => {
    const service = await startTestService(policy)
    await service.decide(question, { traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01', 'x-request-id': 'r-1' })
    const [record] = await service.stop()
    expect(record).toMatchObject({ trace_id: '4bf92f3577b34da6a3ce929d0e0e4736', correlation_id: 'r-1' })
    expect(record?.span_id).not.toBe('00f067aa0ba902b7')
  })
})

describe('a batch', () => {
  const evaluations = [{}, { subject: { type: 'user', id: 'bob' } }, {}]

  test.each([
    [undefined, [true, false, true]],
    ['execute_all', [true, false, true]],
    ['deny_on_first_deny', [true, false]],
    ['permit_on_first_permit', [true]],
  ])('under %s', async (semantic, expected) => {
    const service = await startTestService(policy)
    const answer = await service.decide({ ...question, evaluations, options: { evaluations_semantic: semantic } })
    expect(decideAnswerSchema.safeParse(answer.json).error).toBeUndefined()
    expect(answer.json.evaluations.map((e: { decision: boolean }) => e.decision)).toEqual(expected)
    expect((await service.stop()).map((r) => r.decision)).toEqual(expected)
  })

  test('defaults are replaced whole, not merged', async () => {
    const service = await startTestService({
      'p.rego': 'package p\n\n# METADATA\n# entrypoint: true\nd := {"allow": true, "context": {"got": input}}\n',
    })
    const answer = await service.decide({
      ...question,
      context: { a: 1, b: 2 },
      subject: { type: 'user', id: 'alice', properties: { x: 1 } },
      evaluations: [{ context: { b: 3 } }, { subject: { type: 'user', id: 'bob' } }],
    })
    const [first, second] = answer.json.evaluations.map((e: { context: { got: unknown } }) => e.context.got)
    expect(first.context).toEqual({ b: 3 })
    expect(second).toMatchObject({ context: { a: 1, b: 2 }, subject: { type: 'user', id: 'bob' } })
    expect(second.subject.properties).toBeUndefined()
    await service.stop()
  })

  test('one thousand questions in one request', async () => {
    const service = await startTestService(policy)
    const answer = await service.decide({ ...question, evaluations: Array(1_000).fill({}) })
    expect(answer.json.evaluations).toHaveLength(1_000)
    expect(await service.stop()).toHaveLength(1_000)
  })
})

describe('bundles', () => {
  test('are told apart by name, each with its own revision and epoch', async () => {
    const make = (id: string) =>
      tempFolder({
        'p.rego': `package p\n\n# METADATA\n# entrypoint: true\nallow if input.subject.id == "${id}"\n`,
        '.manifest': `{"revision":"${id}"}`,
      })
    const service = await startTestService(undefined, {
      bundles: [
        { name: 'one', path: make('alice') },
        { name: 'two', path: make('bob') },
      ],
    })
    const ask = async (policy?: string) => (await service.decide({ ...question, policy })).json
    expect(await ask('one')).toMatchObject({ decision: true, policy: { bundle: 'one', revision: 'alice' } })
    expect(await ask('two:p/allow')).toMatchObject({ decision: false, policy: { bundle: 'two', revision: 'bob' } })
    expect((await ask()).error.code).toBe('ERR_UNKNOWN_BUNDLE')
    await service.stop()
  })

  test('the last good one is served again when none is given, with the same epoch', async () => {
    const first = await startTestService(policy)
    const before = (await first.decide(question)).json.policy
    await first.stop()
    const second = await startTestService(undefined, { state: first.state })
    expect((await second.decide(question)).json.policy).toEqual(before)
    await second.stop()
  })

  test('without any the service waits, not ready', async () => {
    const service = await startTestService(undefined)
    const answer = await service.decide(question)
    expect([answer.status, answer.json.error.code, answer.headers.get('retry-after')]).toEqual([503, 'ERR_NO_BUNDLE', '1'])
    expect(errorAnswerSchema.safeParse(answer.json).error).toBeUndefined()
    expect((await fetch(`${service.url}/readyz`)).status).toBe(503)
    expect((await fetch(`${service.url}/healthz`)).status).toBe(200)
    await service.stop()
  })
})

describe('scopes', () => {
  test('the decide scope asks for its token when one is configured', async () => {
    const token = 't'.repeat(40)
    const service = await startTestService(policy, { 'authentication.decideTokenFile': `${tempFolder({ token })}/token` })
    const refused = await service.decide(question)
    expect([refused.status, refused.json.error.code, refused.headers.get('www-authenticate')]).toEqual([
      401,
      'ERR_UNAUTHENTICATED',
      'Bearer',
    ])
    expect((await service.decide(question, { authorization: `Bearer ${token}x` })).status).toBe(401)
    expect((await service.decide(question, { authorization: `Bearer ${token}` })).json.decision).toBe(true)
    const [record] = await service.stop()
    expect(record?.caller).toEqual({ authenticated: true, id: 'token:decide', address: '127.0.0.1' })
    expect(JSON.stringify(service.logged)).not.toContain(token)
  })

  test('the admin scope always asks for its token, and refuses pages of other origins', async () => {
    const service = await startTestService(policy)
    const get = (path: string, headers: Record<string, string> = {}) => fetch(`${service.url}${path}`, { headers })
    const authorization = `Bearer ${readFileSync(`${service.state}/admin.token`, 'utf8').trim()}`
    for (const path of ['/v1/info', '/v1/bundles']) {
      expect((await get(path)).status).toBe(401)
      expect((await get(path, { authorization: 'Bearer wrong' })).status).toBe(401)
      expect((await get(path, { authorization, origin: 'https://evil.example' })).status).toBe(403)
      expect((await get(path, { authorization })).status).toBe(200)
    }
    const info = await (await get('/v1/info', { authorization })).json()
    expect(infoSchema.safeParse(info).error).toBeUndefined()
    await service.stop()
  })
})

test('a masked value is in no record', async () => {
  const service = await startTestService(policy, { 'decisionLog.mask': ['/input/subject/properties/ssn'] })
  await service.decide({ ...question, subject: { ...question.subject, properties: { ssn: 'canary-7' } } })
  const [record] = await service.stop()
  expect(JSON.stringify(record)).not.toContain('canary-7')
  expect(record).toMatchObject({ replayable: 'masked' })
})

test('while a record cannot be kept nothing is answered, and the service is not ready', async () => {
  const service = await startTestService(policy, { 'decisionLog.maxPendingBytes': 1, 'decisionLog.flushIntervalMs': 10_000 })
  expect((await service.decide(question)).status).toBe(200)
  const refused = await service.decide(question)
  expect([refused.status, refused.json.error.code, refused.headers.get('retry-after')]).toEqual([503, 'ERR_LOG_UNAVAILABLE', '1'])
  expect((await service.decide({ ...question, evaluations: [{}, {}] })).status).toBe(503)
  expect((await fetch(`${service.url}/readyz`)).status).toBe(503)
  expect(await service.stop()).toHaveLength(1)
})
