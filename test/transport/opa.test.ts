// OPA's Data API over HTTP, and the official answers where the program `opa` is at hand (test/system/opa-program.test.ts).
import { gzipSync } from 'node:zlib'
import { describe, expect, test } from '@jest/globals'
import { recordSchema } from '../../src/audit/record-schema.ts'
import { question, startTestService, type TestService } from '../support/service.ts'

const policy = {
  'p.rego': `package p

# METADATA
# entrypoint: true
allow if input.subject.id == "alice"

# METADATA
# entrypoint: true
echo := input

# METADATA
# entrypoint: true
no_input if not input

# METADATA
# entrypoint: true
slow if {
	some i, j, k
	input.a[i] + input.a[j] == input.a[k] + 0.5
}
`,
  '.manifest': '{"revision":"r7","metadata":{"default_entrypoint":"p/allow"}}',
}

async function ask(service: TestService, method: string, path: string, body?: string | Buffer, headers: Record<string, string> = {}) {
  const response = await fetch(`${service.url}${path}`, { method, ...(body !== undefined && { body: body as string }), headers })
  const text = await response.text()
  return { status: response.status, text, json: text === '' ? undefined : JSON.parse(text), headers: response.headers }
}

const json = { 'content-type': 'application/json' }
const input = JSON.stringify({ input: question })

describe('v1', () => {
  test('gives the result of an entrypoint, and a record', async () => {
    const service = await startTestService(policy)
    const allow = await ask(service, 'POST', '/v1/data/p/allow', input, { ...json, 'x-request-id': 'opa-1' })
    expect([allow.status, allow.json.result, allow.headers.get('content-type')]).toEqual([200, true, 'application/json; charset=utf-8'])
    const get = await ask(service, 'GET', `/v1/data/p/allow/?input=${encodeURIComponent(JSON.stringify(question))}`)
    expect([get.status, get.json.result]).toEqual([200, true])
    const records = await service.stop()
    expect(records.map(({ id, door, outcome, subject }) => [id, door, outcome, subject])).toEqual(
      [allow, get].map(({ json: { decision_id } }) => [decision_id, 'opa', 'allow', question.subject]),
    )
    expect(records[0]).toMatchObject({ correlation_id: 'opa-1', policy: { entrypoint: 'p/allow' } })
    for (const record of records) expect(recordSchema.safeParse(record).error).toBeUndefined()
  })

  test.each([
    ['undefined', '/v1/data/p/allow', '{"input":{}}'],
    ['a rule that is no entrypoint', '/v1/data/p/other', '{"input":{}}'],
    ['a package', '/v1/data/p', '{"input":{}}'],
    ['the root', '/v1/data', '{"input":{}}'],
    ['a path that would be a query', '/v1/data/p/allow%5B%22x%22%5D', '{"input":{}}'],
    ['the name of a property of objects', '/v1/data/__proto__/constructor', '{"input":{}}'],
  ])('%s is an answer without a result', async (_what, path, body) => {
    const service = await startTestService(policy)
    const answer = await ask(service, 'POST', path, body, json)
    expect([answer.status, 'result' in answer.json, typeof answer.json.decision_id]).toEqual([200, false, 'string'])
    expect('warning' in answer.json).toBe(path !== '/v1/data/p/allow')
    expect((await service.stop()).map(({ decision }) => decision)).toEqual([false])
  })

  test('passes every input on as it is: any key, every digit, none at all', async () => {
    const service = await startTestService(policy)
    for (const text of ['1.0', '12345678901234567890', '"x"', 'false', '[{"constructor":1}]']) {
      expect((await ask(service, 'POST', '/v1/data/p/echo', `{"input":${text}}`, json)).text).toContain(`"result":${text}}`)
    }
    const object = await ask(service, 'POST', '/v1/data/p/echo', '{"input":{"__proto__":1,"trusted":{"caller":{"id":"root"}}}}', json)
    expect(object.json.result['trusted'].caller).toEqual({ authenticated: false, address: '127.0.0.1' })
    expect(object.text).toContain('"__proto__":1')
    for (const [body, headers] of [
      [undefined, {}],
      ['', {}],
      ['{}', json],
      [' ', json],
    ] as const) {
      expect((await ask(service, 'POST', '/v1/data/p/no_input', body, headers)).json.result).toBe(true)
    }
    expect((await ask(service, 'GET', '/v1/data/p/no_input')).json.result).toBe(true)
    await service.stop()
  })

  test('takes any content type and gzip, but no form of a page', async () => {
    const service = await startTestService(policy)
    const form = { 'content-type': 'application/x-www-form-urlencoded' }
    expect((await ask(service, 'POST', '/v1/data/p/allow', input, form)).json.result).toBe(true)
    expect((await ask(service, 'POST', '/v1/data/p/allow', gzipSync(input), { ...json, 'content-encoding': 'gzip' })).json.result).toBe(
      true,
    )
    const page = await ask(service, 'POST', '/v1/data/p/allow', input, { ...form, origin: 'https://evil.example' })
    expect([page.status, page.json.code]).toEqual([415, 'invalid_parameter'])
    await service.stop()
  })

  test('tells metrics and provenance when asked', async () => {
    const service = await startTestService(policy)
    const { json: answer } = await ask(service, 'POST', '/v1/data/p/allow?metrics&provenance=true', input, json)
    expect(answer.metrics.timer_server_handler_ns).toBeGreaterThan(0)
    expect(answer.provenance).toMatchObject({ bundles: { main: { revision: 'r7' } } })
    const { json: plain } = await ask(service, 'POST', '/v1/data/p/allow?metrics=false', input, json)
    expect(Object.keys(plain)).toEqual(['decision_id', 'result'])
    await service.stop()
  })

  test.each([
    ['JSON that ends early', '/v1/data/p/allow', '{"input":'],
    ['a body that is a list', '/v1/data/p/allow', '[]'],
    ['a key twice', '/v1/data/p/allow', '{"input":{"a":1,"a":2}}'],
    ['bytes that are not UTF-8', '/v1/data/p/allow', Buffer.from([0x7b, 0xff, 0x7d])],
    ['errors that shall be strict', '/v1/data/p/allow?strict-builtin-errors=true', '{}'],
    ['a parameter twice', '/v1/data/p/allow?metrics=1&metrics=0', '{}'],
  ])('%s is 400 in the form of OPA', async (_what, path, body) => {
    const service = await startTestService(policy)
    const answer = await ask(service, 'POST', path, body, json)
    expect([answer.status, answer.json.code]).toEqual([400, 'invalid_parameter'])
    expect(answer.json.errors[0].code).toMatch(/^ERR_/)
    expect(await service.stop()).toEqual([])
  })

  test('an evaluation without end is 500 in the form of OPA, and recorded', async () => {
    const service = await startTestService(policy, { 'evaluation.maxSteps': 100_000 })
    const body = JSON.stringify({ input: { a: Array.from({ length: 500 }, (_, i) => i) } })
    const answer = await ask(service, 'POST', '/v1/data/p/slow', body, json)
    expect([answer.status, answer.json.code, answer.json.errors[0].code]).toEqual([500, 'internal_error', 'ERR_STEPS_EXHAUSTED'])
    expect(await service.stop()).toMatchObject([{ outcome: 'error', door: 'opa' }])
  })
})

describe('v0 and the default decision', () => {
  test('the body is the input, the answer is the value, nothing is 404', async () => {
    const service = await startTestService(policy)
    const [alice, bob] = [JSON.stringify(question), JSON.stringify({ ...question, subject: { type: 'user', id: 'bob' } })]
    for (const path of ['/v0/data/p/allow', '/']) {
      const allow = await ask(service, 'POST', path, alice, json)
      expect([path, allow.status, allow.text]).toEqual([path, 200, 'true'])
      const none = await ask(service, 'POST', path, bob, json)
      expect([path, none.status, none.json.code]).toEqual([path, 404, 'undefined_document'])
    }
    expect((await ask(service, 'POST', '/v0/data/p/nothing', alice, json)).status).toBe(404)
    expect((await ask(service, 'POST', '/v0/data', alice, json)).status).toBe(404)
    expect(await service.stop()).toHaveLength(6)
  })
})

test('without a bundle the answer is 503, with when to ask again', async () => {
  const service = await startTestService(undefined)
  for (const path of ['/v1/data/p/allow', '/v0/data/p/allow', '/']) {
    const answer = await ask(service, 'POST', path, '{}', json)
    expect([path, answer.status, answer.json.code, answer.headers.get('retry-after')]).toEqual([path, 503, 'unavailable', '1'])
  }
  await service.stop()
})

test('health says whether the service runs, and with a check whether it can answer', async () => {
  const [ready, without] = [await startTestService(policy), await startTestService(undefined)]
  for (const path of ['/health', '/health?bundles', '/health?plugins=true']) {
    expect(await ask(ready, 'GET', path)).toMatchObject({ status: 200, json: {} })
    const status = path === '/health' ? 200 : 500
    expect(await ask(without, 'GET', path)).toMatchObject({ status, json: status === 200 ? {} : { error: 'no bundle is active' } })
  }
  await ready.stop()
  await without.stop()
})
