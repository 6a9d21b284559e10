// OpenID AuthZEN 1.0 over HTTP: what its evaluation endpoints answer, and what they leave in the record.
import { join } from 'node:path'
import { describe, expect, test } from '@jest/globals'
import { recordSchema } from '../../src/audit/record-schema.ts'
import { question, startTestService, type TestService } from '../support/service.ts'
import { tempFolder } from '../support/temp-folder.ts'

const policy = {
  'p.rego': `package p

# METADATA
# entrypoint: true
decision := {"allow": allow, "reasons": ["r"], "context": {"hint": input.context.hint, "id": "taken"}}

default allow := false

allow if input.subject.id == "alice"

# METADATA
# entrypoint: true
always := true
`,
  '.manifest': '{"metadata":{"default_entrypoint":"p/decision"}}',
}
const bob = { ...question, subject: { type: 'user', id: 'bob' } }
const context = { hint: 'h' }
const one = '/access/v1/evaluation'
const many = '/access/v1/evaluations'

async function post(service: TestService, path: string, body: unknown, headers: Record<string, string> = {}) {
  const response = await fetch(`${service.url}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  })
  const text = await response.text()
  return { status: response.status, text, json: JSON.parse(text), headers: response.headers }
}

describe('access evaluation', () => {
  test('answers with the decision and its context, and is recorded', async () => {
    const service = await startTestService(policy)
    const allow = await post(service, one, { ...question, context }, { 'x-request-id': 'bfe9eb29-ab87' })
    expect([allow.status, allow.headers.get('x-request-id')]).toEqual([200, 'bfe9eb29-ab87'])
    expect(allow.json).toEqual({ decision: true, context: { id: expect.stringMatching(/^[0-9a-f-]{36}$/), hint: 'h', reasons: ['r'] } })
    const deny = await post(service, one, { ...bob, context })
    expect([deny.status, deny.json.decision]).toEqual([200, false])
    const records = await service.stop()
    expect(records.map(({ id, door, outcome, correlation_id }) => [id, door, outcome, correlation_id])).toEqual([
      [allow.json.context.id, 'authzen', 'allow', 'bfe9eb29-ab87'],
      [deny.json.context.id, 'authzen', 'deny', deny.headers.get('x-request-id')],
    ])
    for (const record of records) expect(recordSchema.safeParse(record).error).toBeUndefined()
    expect(records[0]).toMatchObject({ subject: question.subject, action: question.action, resource: question.resource })
  })

  test('does not look at what is not its own', async () => {
    const service = await startTestService(policy)
    const more = { policy: 'main:p/always', min_epoch: 99, explain: 'x', options: 1, evaluations: [{}], future: { a: 1 } }
    expect((await post(service, one, { ...bob, ...more })).json.decision).toBe(false)
    expect((await post(service, many, { ...bob, ...more, options: undefined, evaluations: undefined })).json.decision).toBe(false)
    await service.stop()
  })

  test.each([
    ['another content type', JSON.stringify(question), { 'content-type': 'text/plain' }],
    ['another encoding', JSON.stringify(question), { 'content-encoding': 'br' }],
    ['an empty body', '', {}],
    ['JSON that ends early', '{"subject":', {}],
    ['a list', '[]', {}],
    ['a subject that is text', JSON.stringify({ ...question, subject: 'alice' }), {}],
    ['a number as the name of an action', JSON.stringify({ ...question, action: { name: 123 } }), {}],
    ['a resource without an ID', JSON.stringify({ ...question, resource: { type: 'doc' } }), {}],
    ['no action', JSON.stringify({ ...question, action: undefined }), {}],
    ['a key twice', `{"subject":{"type":"user","id":"bob","id":"alice"},${JSON.stringify(question).slice(1)}`, {}],
  ])('%s is 400', async (_what, body, headers) => {
    const service = await startTestService(policy)
    for (const path of [one, many]) {
      const answer = await post(service, path, body, headers)
      expect([path, answer.status, typeof answer.json.error.message]).toEqual([path, 400, 'string'])
    }
    expect(await service.stop()).toEqual([])
  })

  test('wants the token of the decide scope, and POST', async () => {
    const file = join(tempFolder({ token: 'let-me-in-please-1234567890' }), 'token')
    const service = await startTestService(policy, { 'authentication.decideTokenFile': file })
    for (const path of [one, many]) {
      expect((await post(service, path, question)).status).toBe(401)
      expect((await post(service, path, question, { authorization: 'Bearer let-me-in-please-1234567890' })).status).toBe(200)
      const get = await fetch(`${service.url}${path}`)
      expect([get.status, get.headers.get('allow')]).toEqual([405, 'POST'])
    }
    await service.stop()
  })
})

describe('access evaluations', () => {
  test('members that an item leaves out are taken whole, and one bad item spoils its own answer only', async () => {
    const service = await startTestService(policy)
    const body = {
      ...question,
      context,
      evaluations: [{}, { subject: bob.subject }, { resource: { type: 'doc' } }, { context: {} }, 7],
    }
    const { status, json } = await post(service, many, body)
    expect([status, Object.keys(json)]).toEqual([200, ['evaluations']])
    const items: { decision: boolean; context: { hint?: string; error?: { code: string } } }[] = json.evaluations
    expect(items.map(({ decision, context: { hint, error } }) => [decision, hint, error?.code])).toEqual([
      [true, 'h', undefined],
      [false, 'h', undefined],
      [false, undefined, 'ERR_INVALID_REQUEST'],
      [false, undefined, undefined],
      [false, undefined, 'ERR_INVALID_REQUEST'],
    ])
    expect((await service.stop()).map(({ door }) => door)).toEqual(Array(5).fill('authzen'))
  })

  test.each([
    ['execute_all', [true, false, true]],
    ['deny_on_first_deny', [true, false]],
    ['permit_on_first_permit', [true]],
  ])('%s', async (semantic, expected) => {
    const service = await startTestService(policy)
    const body = { ...question, context, options: { evaluations_semantic: semantic }, evaluations: [{}, bob, {}] }
    const { json } = await post(service, many, body)
    expect(json.evaluations.map(({ decision }: { decision: boolean }) => decision)).toEqual(expected)
    await service.stop()
  })

  test('without evaluations there is one decision', async () => {
    const service = await startTestService(policy)
    for (const evaluations of [undefined, []]) {
      expect((await post(service, many, { ...question, context, evaluations })).json).toMatchObject({ decision: true, context })
    }
    expect((await post(service, many, { ...question, options: { evaluations_semantic: 'some' }, evaluations: [{}] })).status).toBe(400)
    await service.stop()
  })
})

test('while there is no bundle, both endpoints say when to ask again', async () => {
  const service = await startTestService(undefined)
  for (const path of [one, many]) {
    const answer = await post(service, path, question)
    expect([answer.status, answer.headers.get('retry-after')]).toEqual([503, '1'])
  }
  await service.stop()
})
