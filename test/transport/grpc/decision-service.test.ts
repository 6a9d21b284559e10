// verdict.v1.DecisionService, asked by a client that was made from the .proto file.
import { status } from '@grpc/grpc-js'
import { describe, expect, test } from '@jest/globals'
import { recordSchema } from '../../../src/audit/record-schema.ts'
import { call, grpcClient, stream, toStruct } from '../../support/grpc.ts'
import { question, startTestService, type TestService } from '../../support/service.ts'
import { tempFolder } from '../../support/temp-folder.ts'

const policy = {
  'p.rego': `package p

# METADATA
# entrypoint: true
decision := {"allow": allow, "reasons": ["r"], "context": {"seen": object.remove(input, ["trusted"])}}

default allow := false

allow if input.subject.id == "alice"

# METADATA
# entrypoint: true
always := true

# METADATA
# entrypoint: true
slow if {
	some i, j, k
	input.context.a[i] + input.context.a[j] == input.context.a[k] + 0.5
}
`,
  '.manifest': '{"revision":"r1","metadata":{"default_entrypoint":"p/decision"}}',
}

const decisions = (service: TestService) => grpcClient(service.grpcAddress, 'verdict.v1.DecisionService')
const bob = { ...question, subject: { type: 'user', id: 'bob' } }

describe('Decide', () => {
  test('answers with the decision, its policy and its context, and is recorded as over HTTP', async () => {
    const service = await startTestService(policy)
    const allow = await call(decisions(service), 'Decide', question, { 'x-request-id': 'grpc-1' })
    expect([allow.code, allow.headers['x-request-id']]).toEqual([status.OK, 'grpc-1'])
    const { decision } = allow.message
    expect(decision).toMatchObject({
      decision: true,
      policy: { bundle: 'main', entrypoint: 'p/decision', revision: 'r1', epoch: 1 },
      error: null,
    })
    expect(JSON.parse(decision.context_json)).toEqual({ seen: question, reasons: ['r'] })
    const { json } = await service.decide(question, { 'x-request-id': 'grpc-1' })
    const records = await service.stop()
    expect(records[0]).toMatchObject({ id: decision.id, door: 'grpc', correlation_id: 'grpc-1', ...question })
    expect(records[1]).toMatchObject({ id: json.id })
    const varying = { id: '', seq: 0, time: '', door: '', duration_us: 0, trusted: {} }
    expect({ ...records[0], ...varying }).toEqual({ ...records[1], ...varying })
    for (const record of records) expect(recordSchema.safeParse(record).error).toBeUndefined()
  })

  test('attributes are structures, or text whose numbers keep every digit', async () => {
    const service = await startTestService(policy)
    const value = { a: [1, -2.5, 1e21, 'é\u2028', true, null, { b: {} }], 'x"y': [] }
    const { message } = await call(decisions(service), 'Decide', {
      subject: { ...question.subject, properties: toStruct(value) },
      action: { ...question.action, properties_json: ' {"n":12345678901234567890.10} ' },
      resource: question.resource,
      context: toStruct({}),
    })
    const text: string = message.decision.context_json
    expect(JSON.parse(text).seen).toMatchObject({ subject: { properties: value }, context: {} })
    expect(text).toContain('"n":12345678901234567890.10')
    await service.stop()
  })

  test.each([
    ['no subject', { action: question.action, resource: question.resource }, 'ERR_INVALID_REQUEST'],
    ['an empty ID', { ...question, subject: { type: 'user' } }, 'ERR_INVALID_REQUEST'],
    ['an ID beyond ASCII', { ...question, subject: { type: 'user', id: 'аlice' } }, 'ERR_INVALID_IDENTIFIER'],
    ['a number that is none', { ...question, context: toStruct({ n: Number.NaN }) }, 'ERR_UNSAFE_NUMBER'],
    ['an infinite number', { ...question, context: toStruct({ n: [Number.POSITIVE_INFINITY] }) }, 'ERR_UNSAFE_NUMBER'],
    ['a key of a prototype', { ...question, context: toStruct({ a: { ['__proto__']: 1 } }) }, 'ERR_FORBIDDEN_KEY'],
    ['a key of a prototype in text', { ...question, context_json: '{"constructor":1}' }, 'ERR_FORBIDDEN_KEY'],
    ['a key twice in text', { ...question, context_json: '{"a":1,"a":2}' }, 'ERR_DUPLICATE_KEY'],
    ['text that is no object', { ...question, context_json: '[1]' }, 'ERR_INVALID_REQUEST'],
    ['text that ends early', { ...question, context_json: '{"a":' }, 'ERR_INVALID_JSON'],
    ['text with half a surrogate pair', { ...question, context_json: '{"a":"\\ud800"}' }, 'ERR_INVALID_UTF8'],
    ['a policy with spaces', { ...question, policy: 'a b' }, 'ERR_INVALID_REQUEST'],
    ['a negative epoch', { ...question, min_epoch: -1 }, 'ERR_INVALID_REQUEST'],
  ])('%s is INVALID_ARGUMENT', async (_what, message, code) => {
    const service = await startTestService(policy)
    const outcome = await call(decisions(service), 'Decide', message)
    expect([outcome.code, outcome.details.split(':')[0]]).toEqual([status.INVALID_ARGUMENT, code])
    expect(await service.stop()).toEqual([])
  })

  test.each([
    ['an unknown bundle', { policy: 'other' }, status.NOT_FOUND, 'ERR_UNKNOWN_BUNDLE'],
    ['an unknown entrypoint', { policy: 'main:p/none' }, status.NOT_FOUND, 'ERR_UNKNOWN_ENTRYPOINT'],
  ])('%s ends in an error, and is recorded', async (_what, more, code, reason) => {
    const service = await startTestService(policy)
    const outcome = await call(decisions(service), 'Decide', { ...question, ...more })
    expect([outcome.code, outcome.details.split(':')[0]]).toEqual([code, reason])
    expect(await service.stop()).toMatchObject([{ outcome: 'error', error: { code: reason } }])
  })

  test.each([
    ['a token that nothing verifies', { token: 'eyJ' }, 'ERR_TOKEN_INVALID'],
    ['an epoch to come', { min_epoch: 99 }, 'ERR_STALE_EPOCH'],
    [
      'an evaluation without end',
      { policy: 'main:p/slow', context_json: JSON.stringify({ a: Array.from({ length: 500 }, (_, i) => i) }) },
      'ERR_STEPS_EXHAUSTED',
    ],
  ])('%s is a decision, false, with the error', async (_what, more, code) => {
    const service = await startTestService(policy, { 'evaluation.maxSteps': 100_000 })
    const { code: ended, message } = await call(decisions(service), 'Decide', { ...question, ...more })
    expect([ended, message.decision.decision, message.decision.error.code]).toEqual([status.OK, false, code])
    await service.stop()
  })

  test('names a policy, and explains itself when asked', async () => {
    const service = await startTestService(policy)
    const { message } = await call(decisions(service), 'Decide', { ...bob, policy: 'main:p/always', explain: true })
    expect([message.decision.decision, message.decision.policy.entrypoint]).toEqual([true, 'p/always'])
    expect(message.decision.explanation.length).toBeGreaterThan(1)
    await service.stop()
  })

  test('wants the token of the decide scope', async () => {
    const file = `${tempFolder({ token: 'let-me-in-please-1234567890' })}/token`
    const service = await startTestService(policy, { 'authentication.decideTokenFile': file })
    const client = decisions(service)
    for (const metadata of [{}, { authorization: 'Bearer wrong' }, { authorization: 'let-me-in-please-1234567890' }]) {
      expect((await call(client, 'Decide', question, metadata as Record<string, string>)).code).toBe(status.UNAUTHENTICATED)
      expect((await stream(client, 'DecideBatch', [question], metadata as Record<string, string>)).code).toBe(status.UNAUTHENTICATED)
    }
    const authorization = 'Bearer let-me-in-please-1234567890'
    expect((await call(client, 'Decide', question, { authorization })).message.decision.decision).toBe(true)
    expect((await stream(client, 'DecideBatch', [question], { authorization })).messages).toHaveLength(1)
    expect((await service.stop()).map(({ caller }) => (caller as { id: string }).id)).toEqual(['token:decide', 'token:decide'])
  })

  test('without a bundle the answer is UNAVAILABLE', async () => {
    const service = await startTestService(undefined)
    const outcome = await call(decisions(service), 'Decide', question)
    expect([outcome.code, outcome.details.split(':')[0]]).toEqual([status.UNAVAILABLE, 'ERR_NO_BUNDLE'])
    expect((await stream(decisions(service), 'DecideBatch', [question])).code).toBe(status.UNAVAILABLE)
    await service.stop()
  })
})

describe('DecideBatch', () => {
  test('answers each message by one, in order; what an item leaves out is taken whole', async () => {
    const service = await startTestService(policy)
    const evaluations = [{}, { subject: bob.subject }, { resource: { type: 'doc' } }, { context_json: '{"x":1}' }]
    const { code, messages } = await stream(decisions(service), 'DecideBatch', [
      { ...question, context_json: '{"y":2}', evaluations },
      bob,
      { ...question, evaluations: [{ subject: bob.subject }, {}], evaluations_semantic: 'EVALUATIONS_SEMANTIC_DENY_ON_FIRST_DENY' },
      { ...question, evaluations: [{}, {}], evaluations_semantic: 'EVALUATIONS_SEMANTIC_PERMIT_ON_FIRST_PERMIT' },
    ])
    expect(code).toBe(status.OK)
    const allowed = messages.map(({ decisions }) => decisions.map(({ decision }: { decision: boolean }) => decision))
    expect(allowed).toEqual([[true, false, false, true], [false], [false], [true]])
    const [first] = messages
    expect(first.decisions[2].error.code).toBe('ERR_INVALID_REQUEST')
    expect(JSON.parse(first.decisions[0].context_json).seen.context).toEqual({ y: 2 })
    expect(JSON.parse(first.decisions[3].context_json).seen.context).toEqual({ x: 1 })
    expect(await service.stop()).toHaveLength(7)
  })

  test('a batch that is too large ends the stream; what was answered before stays', async () => {
    const service = await startTestService(policy, { 'requests.maxBatchSize': 2 })
    const { code, details, messages } = await stream(decisions(service), 'DecideBatch', [
      question,
      { ...question, evaluations: [{}, {}, {}] },
      question,
    ])
    expect([code, details.split(':')[0], messages.length]).toEqual([status.RESOURCE_EXHAUSTED, 'ERR_BATCH_TOO_LARGE', 1])
    await service.stop()
  })
})

test('health says whether decisions can be given, of each service and of all', async () => {
  for (const [bundle, expected] of [
    [policy, 'SERVING'],
    [undefined, 'NOT_SERVING'],
  ] as const) {
    const service = await startTestService(bundle)
    const client = grpcClient(service.grpcAddress, 'grpc.health.v1.Health')
    for (const name of ['', 'verdict.v1.DecisionService', 'envoy.service.auth.v3.Authorization']) {
      expect([name, (await call(client, 'Check', { service: name })).message.status]).toEqual([name, expected])
    }
    expect((await call(client, 'Check', { service: 'other' })).code).toBe(status.NOT_FOUND)
    await service.stop()
  }
})
