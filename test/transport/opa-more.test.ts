// OPA's API beyond the Data API: how answers are shown, batches, data filters, what runs; and OPA's own clients from npm.
import { describe, expect, test } from '@jest/globals'
import { OPAClient } from '@open-policy-agent/opa'
import { OPAClient as StyraClient } from '@styra/opa'
import { recordSchema } from '../../src/audit/record-schema.ts'
import { prettyJson } from '../../src/transport/pretty-json.ts'
import { startTestService, type TestService } from '../support/service.ts'

const policy = {
  'p.rego': `package p

# METADATA
# entrypoint: true
allow if input.user == "alice"

# METADATA
# entrypoint: true
echo := object.remove(input, ["trusted"])

# METADATA
# entrypoint: true
slow if {
	some i, j, k
	input.a[i] + input.a[j] == input.a[k] + 0.5
}
`,
  'filters.rego': `package filters

# METADATA
# entrypoint: true
# compile:
#   unknowns: [input.fruits]
#   mask_rule: masks
include if input.fruits.colour in data.favourites[input.user]

include if input.fruits.price < input.budget

default masks.fruits.supplier := {"replace": {"value": "***"}}

# METADATA
# entrypoint: true
all if input.user == "root"

# METADATA
# entrypoint: true
# compile:
#   unknowns: [input.fruits]
untranslatable if regex.match("a+", input.fruits.name)
`,
  'data.json': '{"favourites":{"alice":["red","green"]}}',
  '.manifest': '{"revision":"r7","metadata":{"default_entrypoint":"p/allow"}}',
}

async function ask(service: TestService, method: string, path: string, body?: unknown, headers: Record<string, string> = {}) {
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  const response = await fetch(`${service.url}${path}`, {
    method,
    ...(body !== undefined && { body: text }),
    headers: { 'content-type': 'application/json', ...headers },
  })
  const answer = await response.text()
  return { status: response.status, text: answer, json: answer.startsWith('{') ? JSON.parse(answer) : undefined, headers: response.headers }
}

describe('how answers are shown', () => {
  test('pretty has line breaks, and every digit', async () => {
    const service = await startTestService(policy)
    const { text } = await ask(service, 'POST', '/v1/data/p/echo?pretty=true', '{"input":{"n":1.10,"list":[1,{"a":[]}],"e":{}}}')
    expect(text).toMatch(
      /^\{\n {2}"decision_id": "[^"]+",\n {2}"result": \{\n {4}"e": \{\},\n {4}"list": \[\n {6}1,\n {6}\{\n {8}"a": \[\]\n {6}\}\n {4}\],\n {4}"n": 1\.10\n {2}\}\n\}\n$/,
    )
    expect(prettyJson('"a"')).toBe('"a"')
    await service.stop()
  })

  test('explain adds lines of the trace, more of them for more', async () => {
    const service = await startTestService(policy)
    const lines = async (mode: string) =>
      (await ask(service, 'POST', `/v1/data/p/allow?explain=${mode}`, { input: { user: 'alice' } })).json.explanation
    expect((await lines('full')).join('\n')).toContain('data.p.allow')
    expect((await lines('fails')).length).toBeLessThan((await lines('full')).length)
    expect(await lines('off')).toBeUndefined()
    await service.stop()
  })

  test('a body may be YAML', async () => {
    const service = await startTestService(policy)
    const yaml = { 'content-type': 'application/x-yaml' }
    expect((await ask(service, 'POST', '/v1/data/p/echo', 'input:\n  a: [1, x]\n', yaml)).json.result).toEqual({ a: [1, 'x'] })
    expect((await ask(service, 'POST', '/v0/data/p/allow', 'user: alice\n', yaml)).text).toBe('true')
    expect((await ask(service, 'POST', '/v1/data/p/echo', 'input: [', yaml)).status).toBe(400)
    await service.stop()
  })
})

describe('batches', () => {
  test('each input has its answer and its record', async () => {
    const service = await startTestService(policy)
    const { status, json } = await ask(service, 'POST', '/v1/batch/data/p/allow', { inputs: { a: { user: 'alice' }, b: { user: 'bob' } } })
    expect([status, json.responses.a.result, 'result' in json.responses.b, typeof json.batch_decision_id]).toEqual([
      200,
      true,
      false,
      'string',
    ])
    const records = await service.stop()
    expect(records.map(({ id }) => id)).toEqual([json.responses.a.decision_id, json.responses.b.decision_id])
  })

  test('members that all have in common are said once', async () => {
    const service = await startTestService(policy)
    const { json } = await ask(service, 'POST', '/v1/batch/data/p/echo', {
      inputs: { a: { x: 1 }, b: { y: 3, x: 2 }, c: 7 },
      common_input: { y: 0 },
    })
    expect(Object.values(json.responses).map((one) => (one as { result: unknown }).result)).toEqual([
      { x: 1, y: 0 },
      { x: 2, y: 3 },
      undefined,
    ])
    await service.stop()
  })

  test('some failures are 207 with a status for each, nothing but failures 500', async () => {
    const service = await startTestService(policy, { 'evaluation.maxSteps': 100_000 })
    const endless = { a: Array.from({ length: 500 }, (_, i) => i) }
    const mixed = await ask(service, 'POST', '/v1/batch/data/p/slow', { inputs: { bad: endless, good: { a: [] } } })
    expect([mixed.status, mixed.json.responses.bad.http_status_code, mixed.json.responses.good.http_status_code]).toEqual([
      207,
      '500',
      '200',
    ])
    expect((await ask(service, 'POST', '/v1/batch/data/p/slow', { inputs: { bad: endless } })).status).toBe(500)
    await service.stop()
  })

  test.each([
    ['no inputs', {}],
    ['inputs that are a list', { inputs: [] }],
    ['a list', []],
    ['nothing', ''],
  ])('%s is 400', async (_what, body) => {
    const service = await startTestService(policy)
    expect((await ask(service, 'POST', '/v1/batch/data/p/allow', body)).status).toBe(400)
    await service.stop()
  })

  test('too many are 413', async () => {
    const service = await startTestService(policy, { 'requests.maxBatchSize': 2 })
    expect((await ask(service, 'POST', '/v1/batch/data/p/allow', { inputs: { a: 1, b: 2, c: 3 } })).status).toBe(413)
    await service.stop()
  })
})

describe('data filters', () => {
  const type = (name: string) => ({ accept: `application/vnd.opa.${name}+json` })
  const input = { user: 'alice', budget: 5 }

  test.each(['sql.postgresql', 'sql.mysql', 'sql.sqlserver', 'sql.sqlite'])('as %s', async (name) => {
    const service = await startTestService(policy)
    const { status, json, headers } = await ask(service, 'POST', '/v1/compile/filters/include', { input }, type(name))
    expect([status, headers.get('content-type')]).toEqual([200, `application/vnd.opa.${name}+json; charset=utf-8`])
    expect(json.result.query).toMatch(/^WHERE \(.*colour.*OR.*price.*\)$/)
    expect(json.result.masks).toEqual({ fruits: { supplier: { replace: { value: '***' } } } })
    const [record] = await service.stop()
    expect(record).toMatchObject({ door: 'opa-compile', outcome: 'allow', policy: { entrypoint: 'filters/include' } })
    expect(recordSchema.safeParse(record).error).toBeUndefined()
  })

  test('as UCAST, and as several at once', async () => {
    const service = await startTestService(policy)
    const ucast = await ask(service, 'POST', '/v1/compile/filters/include', { input }, type('ucast.prisma'))
    expect(ucast.json.result.query).toMatchObject({ type: 'compound', operator: 'or' })
    const options = { targetDialects: ['sql+postgresql', 'sql+sqlite', 'ucast+prisma'] }
    const { json } = await ask(service, 'POST', '/v1/compile/filters/include', { input, options }, type('multitarget'))
    expect(Object.keys(json.result).sort()).toEqual(['postgresql', 'sqlite', 'ucast'])
    await service.stop()
  })

  test('tables and columns have the names that the request gives them', async () => {
    const service = await startTestService(policy)
    const options = { targetSQLTableMappings: { postgresql: { fruits: { $self: 'f', colour: 'c' } } } }
    const { json } = await ask(service, 'POST', '/v1/compile/filters/include', { input, options }, type('sql.postgresql'))
    expect(json.result.query).toContain('f.c')
    await service.stop()
  })

  test('nothing may be seen, or everything', async () => {
    const service = await startTestService(policy)
    const unknowns = ['input.fruits']
    const none = await ask(service, 'POST', '/v1/compile/filters/all', { input, unknowns }, type('sql.sqlite'))
    expect([none.status, none.json]).toEqual([200, {}])
    const all = await ask(service, 'POST', '/v1/compile/filters/all', { input: { user: 'root' }, unknowns }, type('sql.sqlite'))
    expect(all.json.result.query).toBe('')
    expect((await service.stop()).map(({ outcome }) => outcome)).toEqual(['deny', 'allow'])
  })

  test.each([
    ['a type that is none', '/v1/compile/filters/include', {}, { accept: 'application/json' }, 400],
    ['no targets', '/v1/compile/filters/include', {}, type('multitarget'), 400],
    ['a target that is none', '/v1/compile/filters/include', { options: { targetDialects: ['sql+oracle'] } }, type('multitarget'), 400],
    ['unknowns that are no list', '/v1/compile/filters/include', { unknowns: 'input' }, type('sql.sqlite'), 400],
    ['unknowns that are no references', '/v1/compile/filters/include', { unknowns: ['a b'] }, type('sql.sqlite'), 400],
    ['what no SQL can say', '/v1/compile/filters/untranslatable', { input }, type('sql.sqlite'), 400],
    ['a rule that is no entrypoint', '/v1/compile/filters/masks', { input }, type('sql.sqlite'), 404],
    ['a path that would be a query', '/v1/compile/filters/all%5B%22x%22%5D', { input }, type('sql.sqlite'), 404],
  ])('%s is refused in the form of OPA', async (_what, path, body, headers, expected) => {
    const service = await startTestService(policy)
    const { status, json } = await ask(service, 'POST', path, body, headers)
    expect([status, typeof json.code, typeof json.message]).toEqual([expected, 'string', 'string'])
    await service.stop()
  })
})

describe('what runs', () => {
  test('status and configuration, for the administrator only', async () => {
    const service = await startTestService(policy, { labels: { region: 'eu' } })
    for (const path of ['/v1/status', '/v1/config']) expect((await fetch(`${service.url}${path}`)).status).toBe(401)
    const { readFileSync } = await import('node:fs')
    const authorization = `Bearer ${readFileSync(`${service.state}/admin.token`, 'utf8')}`
    const status = await ask(service, 'GET', '/v1/status', undefined, { authorization })
    expect(status.json.result).toMatchObject({
      bundles: { main: { active_revision: 'r7', type: 'snapshot' } },
      plugins: { bundle: { state: 'OK' } },
      labels: { region: 'eu' },
    })
    const config = await ask(service, 'GET', '/v1/config', undefined, { authorization })
    expect(config.json.result).toMatchObject({ labels: { region: 'eu' }, default_decision: 'p/allow' })
    await service.stop()
  })

  test.each([
    ['PUT', '/v1/policies/a'],
    ['GET', '/v1/policies'],
    ['PUT', '/v1/data/a'],
    ['PATCH', '/v1/data'],
    ['DELETE', '/v1/data/a'],
    ['POST', '/v1/query'],
    ['POST', '/v1/compile'],
  ])('%s %s is refused, and says why', async (method, path) => {
    const service = await startTestService(policy)
    const { status, json } = await ask(service, method, path, method === 'GET' ? undefined : {})
    expect([status, json.message]).toEqual([405, expect.stringContaining('come in bundles')])
    await service.stop()
  })

  test('a check of plugins can leave bundles out', async () => {
    const service = await startTestService(undefined)
    const statuses = await Promise.all(
      ['?plugins', '?plugins&exclude-plugin=bundle', '?bundles&exclude-plugin=bundle'].map(
        async (query) => (await fetch(`${service.url}/health${query}`)).status,
      ),
    )
    expect(statuses).toEqual([500, 200, 500])
    await service.stop()
  })
})

describe.each([
  ['@open-policy-agent/opa', OPAClient],
  ['@styra/opa', StyraClient],
])('the client %s', (_name, Client) => {
  test('asks, with a default and in batches', async () => {
    const service = await startTestService(policy)
    // biome-ignore lint/suspicious/noExplicitAny: the two clients have one shape and different types
    const client: any = new (Client as any)(service.url)
    expect(await client.evaluate('p/allow', { user: 'alice' })).toBe(true)
    expect(await client.evaluate('p/echo', { user: 'alice', n: [1, null] })).toEqual({ user: 'alice', n: [1, null] })
    expect(await client.evaluateDefault({ user: 'alice' })).toBe(true)
    expect(await client.evaluateBatch('p/echo', { a: { user: 'alice' }, b: { user: 'bob' } })).toEqual({
      a: { user: 'alice' },
      b: { user: 'bob' },
    })
    await service.stop()
  })
})
