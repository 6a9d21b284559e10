// AuthZEN's searches and its metadata.
import { generateKeyPairSync } from 'node:crypto'
import { join } from 'node:path'
import { describe, expect, test } from '@jest/globals'
import { importSPKI, jwtVerify } from 'jose'
import { createPageTokens } from '../../src/transport/page-token.ts'
import { codeOf } from '../support/code-of.ts'
import { startTestService, type TestService } from '../support/service.ts'
import { tempFolder } from '../support/temp-folder.ts'

const records = Object.fromEntries(
  Array.from({ length: 25 }, (_, i) => [
    String(101 + i),
    { owner: ['alice', 'bob', 'carol'][i % 3], department: i % 2 === 0 ? 'sales' : 'legal' },
  ]),
)
const bundle = {
  'search.rego': `package search

# METADATA
# entrypoint: true
allow if {
	record.owner == input.subject.id
	input.action.name in {"view", "edit", "delete"}
}

allow if {
	record.department == data.users[input.subject.id].department
	input.action.name == "view"
	object.get(input, ["context", "closed"], false) == false
}

record := data.records[input.resource.id] if input.resource.type == "record"
`,
  'data.json': JSON.stringify({
    users: { alice: { department: 'sales' }, bob: { department: 'legal' }, carol: { department: 'sales' }, dan: { department: 'legal' } },
    records,
    actions: [{ name: 'view' }, { name: 'edit' }, 'delete', 'print'],
  }),
  '.manifest': JSON.stringify({
    metadata: { search: { subject: { user: 'users' }, resource: { record: 'records' }, action: { '*': 'actions' } } },
  }),
}
const alice = { type: 'user', id: 'alice' }
const view = { name: 'view' }
const record = (id: number) => ({ type: 'record', id: String(id) })

async function find(service: TestService, kind: string, body: unknown, headers: Record<string, string> = {}) {
  const response = await fetch(`${service.url}/access/v1/search/${kind}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  })
  const text = await response.text()
  return { status: response.status, text, json: JSON.parse(text), headers: response.headers }
}

describe('searches', () => {
  test('who may do this, what may be done to what, and what may be done', async () => {
    const service = await startTestService(bundle)
    const who = await find(
      service,
      'subject',
      { subject: { type: 'user' }, action: view, resource: record(101) },
      { 'x-request-id': 's-1' },
    )
    expect([who.status, who.json.results, who.headers.get('x-request-id')]).toEqual([200, [alice, { type: 'user', id: 'carol' }], 's-1'])
    expect(Object.keys(who.json)).toEqual(['page', 'results'])
    expect(who.json.page).toEqual({ next_token: '', count: 2 })
    const what = await find(service, 'resource', { subject: alice, action: { name: 'edit' }, resource: { type: 'record' } })
    expect(what.json.results).toEqual(
      Object.entries(records)
        .filter(([, { owner }]) => owner === 'alice')
        .map(([id]) => record(Number(id))),
    )
    const how = await find(service, 'action', { subject: alice, resource: record(103) })
    expect(how.json.results).toEqual([view])
    const own = await find(service, 'action', { subject: alice, resource: record(101) })
    expect(own.json.results).toEqual([{ name: 'delete' }, { name: 'edit' }, { name: 'view' }])
    const closed = await find(service, 'action', { subject: alice, resource: record(103), context: { closed: true } })
    expect(closed.json.results).toEqual([])
    const kept = await service.stop()
    expect(kept.map(({ door }) => door)).toEqual(Array(4 + 25 + 4 + 4 + 4).fill('authzen-search'))
    expect(kept[0]).toMatchObject({ correlation_id: 's-1', subject: alice, outcome: 'allow' })
  })

  test('an ID of what is searched for is not looked at; its properties are passed on', async () => {
    const service = await startTestService(bundle)
    for (const id of ['nobody', 7, null]) {
      expect(
        (await find(service, 'subject', { subject: { type: 'user', id, properties: { a: 1 } }, action: view, resource: record(101) })).json
          .results,
      ).toHaveLength(2)
    }
    expect((await service.stop())[0]).toMatchObject({ subject: { type: 'user', id: 'alice', properties: { a: 1 } } })
  })

  test.each([
    ['an unknown type', 'subject', { subject: { type: 'robot' }, action: view, resource: record(101) }],
    ['an unknown type with the name of a property', 'resource', { subject: alice, action: view, resource: { type: 'constructor' } }],
    ['an unknown resource', 'subject', { subject: { type: 'user' }, action: view, resource: { type: 'record', id: '999' } }],
    ['an unknown subject', 'resource', { subject: { type: 'user', id: 'zoe' }, action: view, resource: { type: 'record' } }],
  ])('%s is an answer without results', async (_what, kind, body) => {
    const service = await startTestService(bundle)
    const { status, json } = await find(service, kind, body)
    expect([status, json.results]).toEqual([200, []])
    await service.stop()
  })

  test.each([
    ['no type', 'subject', { subject: {}, action: view, resource: record(101) }],
    ['no action', 'subject', { subject: { type: 'user' }, resource: record(101) }],
    ['no ID of the resource', 'subject', { subject: { type: 'user' }, action: view, resource: { type: 'record' } }],
    ['no ID of the subject', 'resource', { subject: { type: 'user' }, action: view, resource: { type: 'record' } }],
    ['no resource', 'action', { subject: alice }],
    ['a subject that is text', 'action', { subject: 'alice', resource: record(101) }],
    ['a limit of none', 'action', { subject: alice, resource: record(101), page: { limit: 0 } }],
    ['a limit that is text', 'action', { subject: alice, resource: record(101), page: { limit: '5' } }],
    ['a token that is made up', 'action', { subject: alice, resource: record(101), page: { token: 'e30' } }],
    ['a list', 'action', []],
    ['JSON that ends early', 'action', '{"subject":'],
    ['a key twice', 'action', '{"subject":{"type":"user","id":"a","id":"b"},"resource":{"type":"record","id":"101"}}'],
  ])('%s is 400', async (_what, kind, body) => {
    const service = await startTestService(bundle)
    expect((await find(service, kind, body)).status).toBe(400)
    expect(await service.stop()).toEqual([])
  })

  test('pages follow each other until the token is empty, and hold everything once', async () => {
    const service = await startTestService(bundle)
    const body = { subject: alice, action: view, resource: { type: 'record' } }
    const whole = (await find(service, 'resource', body)).json.results
    const paged: unknown[] = []
    let token = ''
    for (let pages = 0; pages < 20; pages++) {
      const { json } = await find(service, 'resource', { ...body, page: { token, limit: 3 } })
      expect(json.page.count).toBe(json.results.length)
      expect(json.results.length).toBeLessThanOrEqual(3)
      paged.push(...json.results)
      token = json.page.next_token
      if (token === '') break
    }
    expect(paged).toEqual(whole)
    await service.stop()
  })

  test('a token is good for its own request only, and for this service', async () => {
    const service = await startTestService(bundle)
    const body = { subject: alice, action: view, resource: { type: 'record' } }
    const { json } = await find(service, 'resource', { ...body, page: { limit: 2 } })
    const token: string = json.page.next_token
    expect(Buffer.from(token, 'base64url').toString('latin1')).not.toContain('103')
    const tries: [string, string, object][] = [
      ['another subject', 'resource', { ...body, subject: { type: 'user', id: 'bob' }, page: { token } }],
      ['another context', 'resource', { ...body, context: {}, page: { token } }],
      ['another search', 'subject', { subject: { type: 'user' }, action: view, resource: record(101), page: { token } }],
      ['a cut token', 'resource', { ...body, page: { token: token.slice(0, -2) } }],
      ['a padded token', 'resource', { ...body, page: { token: `${token}=` } }],
      ['a changed token', 'resource', { ...body, page: { token: (token.startsWith('A') ? 'B' : 'A') + token.slice(1) } }],
    ]
    for (const [what, kind, changed] of tries) expect([what, (await find(service, kind, changed)).status]).toEqual([what, 400])
    expect((await find(service, 'resource', { ...body, page: { token } })).status).toBe(200)
    await service.stop()
    expect(codeOf(() => createPageTokens().open(token, 'x'))).toBe('ERR_INVALID_REQUEST')
  })

  test('without a bundle there is nothing to find', async () => {
    const service = await startTestService(undefined)
    expect((await find(service, 'action', { subject: alice, resource: record(101) })).json.results).toEqual([])
    await service.stop()
  })
})

describe('metadata', () => {
  const path = '/.well-known/authzen-configuration'

  test('names the endpoints that there are', async () => {
    const service = await startTestService({
      ...bundle,
      '.manifest': JSON.stringify({ metadata: { search: { action: { '*': 'actions' } } } }),
    })
    const { host } = new URL(service.url)
    const response = await fetch(`${service.url}${path}`)
    expect([response.status, await response.json()]).toEqual([
      200,
      {
        policy_decision_point: `https://${host}`,
        access_evaluation_endpoint: `https://${host}/access/v1/evaluation`,
        access_evaluations_endpoint: `https://${host}/access/v1/evaluations`,
        search_action_endpoint: `https://${host}/access/v1/search/action`,
      },
    ])
    await service.stop()
  })

  test.each([
    ['ed25519', () => generateKeyPairSync('ed25519'), 'EdDSA'],
    ['P-256', () => generateKeyPairSync('ec', { namedCurve: 'P-256' }), 'ES256'],
    ['RSA', () => generateKeyPairSync('rsa', { modulusLength: 2_048 }), 'PS256'],
  ])('is signed with a key of %s where one is configured', async (_type, generate, alg) => {
    const { privateKey, publicKey } = generate()
    const folder = tempFolder({ 'key.pem': privateKey.export({ type: 'pkcs8', format: 'pem' }) as string })
    const publicUrl = 'https://pdp.example.com'
    const service = await startTestService(bundle, { 'authzen.publicUrl': publicUrl, 'authzen.metadataKeyFile': join(folder, 'key.pem') })
    const { signed_metadata: signed, ...plain } = (await (await fetch(`${service.url}${path}`)).json()) as Record<string, string>
    const key = await importSPKI(publicKey.export({ type: 'spki', format: 'pem' }) as string, alg)
    const { payload } = await jwtVerify(signed as string, key, { issuer: publicUrl, algorithms: [alg] })
    const { iss, iat, ...claims } = payload
    expect(claims).toEqual(plain)
    expect(plain['policy_decision_point']).toBe(publicUrl)
    await service.stop()
  })

  test('a key that is none stops the start', async () => {
    const file = join(tempFolder({ k: 'x' }), 'k')
    await expect(startTestService(bundle, { 'authzen.metadataKeyFile': file })).rejects.toMatchObject({ code: 'ERR_CONFIG_INVALID' })
    await expect(startTestService(bundle, { 'authzen.metadataKeyFile': `${file}-not-there` })).rejects.toMatchObject({ code: 'ERR_FILE' })
  })
})
