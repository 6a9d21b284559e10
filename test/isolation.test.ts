// Revocation and quarantine at every door: from the answer of the API on, over restarts, until they end; and who may say so.
import { generateKeyPairSync } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { describe, expect, test } from '@jest/globals'
import { SignJWT } from 'jose'
import { recordSchema } from '../src/audit/record-schema.ts'
import { admin } from './support/bundles.ts'
import { call, grpcClient, stream } from './support/grpc.ts'
import { question, readRecords, startTestService, type TestService } from './support/service.ts'
import { tempFolder } from './support/temp-folder.ts'

const policy = {
  'p.rego': `package p

# METADATA
# entrypoint: true
decision := {"allow": true, "context": {"risk": object.get(input.trusted, "risk", null)}}
`,
}
const names = ['pep', 'pep2', 'ann', 'bob', 'eve'] as const
type Name = (typeof names)[number]
const tokenOf = (name: Name) => `token-of-${name}-0123456789012`
const files = tempFolder(Object.fromEntries(names.map((name) => [name, tokenOf(name)])))
const callers = [
  { id: 'pep', tokenFile: `${files}/pep`, roles: ['decide'] },
  { id: 'pep2', tokenFile: `${files}/pep2`, roles: ['decide'] },
  { id: 'ann', tokenFile: `${files}/ann`, roles: ['revoke', 'quarantine'] },
  { id: 'bob', tokenFile: `${files}/bob`, roles: ['revoke', 'quarantine', 'audit'] },
  { id: 'eve', tokenFile: `${files}/eve`, roles: ['audit'] },
]
const start = (more: Record<string, unknown> = {}) => startTestService(policy, { 'authentication.callers': callers, ...more })
const bearer = (name: Name) => ({ authorization: `Bearer ${tokenOf(name)}` })
const add = (service: TestService, what: 'revocations' | 'quarantines', body: object, by: Name = 'ann') =>
  admin(service, 'POST', `/v1/${what}`, body, tokenOf(by))
const end = (service: TestService, what: 'revocations' | 'quarantines', id: string, by: Name = 'ann') =>
  admin(service, 'DELETE', `/v1/${what}/${id}`, undefined, tokenOf(by))
const decide = async (service: TestService, by: Name = 'pep', more: object = {}) =>
  (await service.decide({ ...question, ...more }, bearer(by))).json
const codeOf = async (service: TestService, by: Name = 'pep', more: object = {}): Promise<string | boolean> => {
  const { decision, context } = await decide(service, by, more)
  return decision === true ? true : context.error.code
}

/** What each door says: whether it lets pass, and its status. */
async function doors(service: TestService): Promise<Record<string, unknown>> {
  const headers = { 'content-type': 'application/json', ...bearer('pep') }
  const post = async (path: string, body: object) => {
    const response = await fetch(`${service.url}${path}`, { method: 'POST', headers, body: JSON.stringify(body) })
    // biome-ignore lint/suspicious/noExplicitAny: answers of any shape
    return [response.status, (await response.json()) as any] as const
  }
  const [native, nativeBody] = await post('/v1/decide', question)
  const [authzen, authzenBody] = await post('/access/v1/evaluation', question)
  const [batch, batchBody] = await post('/access/v1/evaluations', { ...question, evaluations: [{}, {}] })
  const [opa] = await post('/v1/data/p/decision', { input: question })
  const forward = {
    'x-verdict-authorization': headers.authorization,
    'x-forwarded-method': 'GET',
    'x-forwarded-uri': '/',
    'x-forwarded-host': 'h',
  }
  const traefik = await fetch(`${service.url}/v1/auth/traefik`, { headers: forward })
  const envoyHttp = await fetch(`${service.url}/v1/auth/envoy/x`, { headers: { 'x-verdict-authorization': headers.authorization } })
  const decisions = grpcClient(service.grpcAddress, 'verdict.v1.DecisionService')
  const grpc = await call(decisions, 'Decide', question, bearer('pep'))
  const grpcBatch = await stream(decisions, 'DecideBatch', [question], bearer('pep'))
  const http = { method: 'GET', path: '/', host: 'h', protocol: 'HTTP/1.1' }
  const envoy = grpcClient(service.grpcAddress, 'envoy.service.auth.v3.Authorization')
  const check = await call(envoy, 'Check', { attributes: { request: { http } } }, bearer('pep'))
  return {
    native: [native, nativeBody.decision],
    authzen: [authzen, authzenBody.decision],
    batch: [batch, batchBody.evaluations.map(({ decision }: { decision: boolean }) => decision)],
    opa,
    traefik: traefik.status,
    envoyHttp: envoyHttp.status,
    grpc: [grpc.code, grpc.message.decision.decision],
    grpcBatch: [grpcBatch.code, grpcBatch.messages[0].decisions[0].decision],
    check: [check.code, check.message.status?.code ?? 0],
  }
}

const passing = {
  native: [200, true],
  authzen: [200, true],
  batch: [200, [true, true]],
  opa: 200,
  traefik: 200,
  envoyHttp: 200,
  grpc: [0, true],
  grpcBatch: [0, true],
  check: [0, 0],
}
const denied = {
  native: [200, false],
  authzen: [200, false],
  batch: [200, [false, false]],
  opa: 403,
  traefik: 403,
  envoyHttp: 403,
  grpc: [0, false],
  grpcBatch: [0, false],
  check: [0, 7],
}

describe('a caller', () => {
  test.each([['revocations', 'ERR_REVOKED'] as const, ['quarantines', 'ERR_QUARANTINED'] as const])(
    '%s: denied at every door from the answer on, over a restart, until it ends; others are not',
    async (what, code) => {
      const service = await start()
      expect(await doors(service)).toEqual(passing)
      const added = await add(service, what, { kind: 'caller', value: 'pep', reason: 'leaked' })
      expect([added.status, added.json.author]).toEqual([201, 'ann'])
      expect(await doors(service)).toEqual(denied)
      expect([await codeOf(service), await codeOf(service, 'pep2')]).toEqual([code, true])
      const records = await service.stop()
      const last = records.filter(({ error }) => (error as { code?: string } | undefined)?.code === code)
      expect(last.length).toBeGreaterThan(9)
      for (const record of records) expect(recordSchema.safeParse(record).error).toBeUndefined()
      const again = await start({ state: service.state })
      expect(await doors(again)).toEqual(denied)
      const { id } = added.json
      expect((await end(again, what, id)).json.ended_by).toBe('ann')
      expect(await doors(again)).toEqual(passing)
      expect([(await end(again, what, id)).status, (await end(again, what, 'no-uuid')).status]).toEqual([409, 404])
      const { acts } = (await admin(again, 'GET', '/v1/acts', undefined, tokenOf('eve'))).json
      const ended = what === 'revocations' ? 'revocation_ended' : 'released'
      expect(acts.slice(-2).map(({ act, actor }: { act: string; actor: string }) => [act, actor])).toEqual([
        [what === 'revocations' ? 'revoked' : 'quarantined', 'ann'],
        [ended, 'ann'],
      ])
      await again.stop()
    },
  )

  test('who is isolated does not act, either', async () => {
    const service = await start()
    await add(service, 'revocations', { kind: 'caller', value: 'ann' }, 'bob')
    expect((await add(service, 'revocations', { kind: 'caller', value: 'bob' })).status).toBe(403)
    await service.stop()
  })
})

describe('a subject', () => {
  test('is denied by whatever way it is asked about; its time ends by itself', async () => {
    const service = await start()
    expect((await add(service, 'revocations', { kind: 'subject', value: 'alice', expires_in_s: 1 })).json.expires_at).toBeDefined()
    expect(await codeOf(service)).toBe('ERR_REVOKED')
    expect(await codeOf(service, 'pep', { subject: { type: 'robot', id: '\u0061lice' } })).toBe('ERR_REVOKED')
    expect(await codeOf(service, 'pep', { subject: { type: 'user', id: 'alice2' } })).toBe(true)
    await new Promise((resolve) => setTimeout(resolve, 1_100))
    expect(await codeOf(service)).toBe(true)
    await service.stop()
  })

  test('in quarantine keeps the actions that are listed, and the policy sees why; the strictest of several holds', async () => {
    const service = await start()
    await add(service, 'quarantines', { kind: 'subject', value: 'alice', allowed_actions: ['read'], reason: 'odd hours' })
    expect((await decide(service)).context.risk).toEqual({ quarantined: true, reason: 'odd hours' })
    expect(await codeOf(service, 'pep', { action: { name: 'write' } })).toBe('ERR_QUARANTINED')
    const { json } = await add(service, 'quarantines', { kind: 'subject', value: 'alice' })
    expect(await codeOf(service)).toBe('ERR_QUARANTINED')
    await add(service, 'revocations', { kind: 'subject', value: 'alice' })
    expect(await codeOf(service)).toBe('ERR_REVOKED')
    await end(service, 'quarantines', json.id)
    expect(await codeOf(service)).toBe('ERR_REVOKED')
    // A caller cannot bring the fact, or take it away.
    expect((await decide(service, 'pep', { subject: { type: 'user', id: 'bob' }, trusted: { risk: 1 } })).context.risk).toBeNull()
    await service.stop()
  })
})

test('where it is configured, somebody else releases', async () => {
  const service = await start({ 'authentication.releaseByAnother': true })
  const { id } = (await add(service, 'quarantines', { kind: 'caller', value: 'pep' })).json
  expect((await end(service, 'quarantines', id)).json.error.code).toBe('ERR_FORBIDDEN')
  expect(await codeOf(service)).toBe('ERR_QUARANTINED')
  expect((await end(service, 'quarantines', id, 'bob')).status).toBe(200)
  expect(await codeOf(service)).toBe(true)
  await service.stop()
})

test.each([
  ['revocations', { kind: 'user', value: 'x' }],
  ['revocations', { kind: 'caller' }],
  ['revocations', { kind: 'caller', value: '' }],
  ['revocations', { kind: 'caller', value: 'x', extra: 1 }],
  ['revocations', { kind: 'issued_before', value: 'a.example' }],
  ['revocations', { kind: 'caller', value: 'x', expires_in_s: 0 }],
  ['quarantines', { kind: 'jti', value: 'x' }],
  ['quarantines', { kind: 'caller', value: 'x'.repeat(2_049) }],
] as const)('%s of %j: refused', async (what, body) => {
  const service = await start()
  expect((await add(service, what, body)).status).toBe(400)
  expect((await admin(service, 'GET', `/v1/${what}`, undefined, tokenOf('eve'))).json.entries).toEqual([])
  expect((await add(service, what, { kind: 'caller', value: 'x' }, 'eve')).status).toBe(403)
  await service.service.close()
})

test('tokens: by their ID, their key, their session, or when they were issued', async () => {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const folder = tempFolder()
  writeFileSync(`${folder}/jwks.json`, JSON.stringify({ keys: [{ ...publicKey.export({ format: 'jwk' }), kid: 'k1', use: 'jwt-svid' }] }))
  const service = await start({
    'authentication.audiences': ['pdp'],
    'authentication.trustDomains': [{ name: 'a.example', jwksFile: `${folder}/jwks.json` }],
    'authentication.callers': [...callers, { spiffeId: 'spiffe://a.example/x', roles: ['decide'] }],
  })
  const seconds = Math.floor(Date.now() / 1_000)
  const make = (claims: object) =>
    new SignJWT({ sub: 'spiffe://a.example/x', aud: 'pdp', exp: seconds + 300, iat: seconds - 10, ...claims })
      .setProtectedHeader({ alg: 'ES256', kid: 'k1' })
      .sign(privateKey)
  const [one, two, old, timeless] = [
    await make({ jti: 'one', sid: 's1' }),
    await make({ jti: 'two', sid: 's2' }),
    await make({ iat: seconds - 100 }),
    await make({ iat: undefined }),
  ]
  const statuses = () =>
    Promise.all(
      [one, two, old, timeless].map(async (token) => (await service.decide(question, { authorization: `Bearer ${token}` })).status),
    )
  expect(await statuses()).toEqual([200, 200, 200, 200])
  const byId = (await add(service, 'revocations', { kind: 'jti', value: 'one' })).json
  expect(await statuses()).toEqual([401, 200, 200, 200])
  await add(service, 'revocations', { kind: 'session', value: 's2' })
  expect(await statuses()).toEqual([401, 401, 200, 200])
  await end(service, 'revocations', byId.id)
  const before = new Date((seconds - 50) * 1_000).toISOString()
  await add(service, 'revocations', { kind: 'issued_before', value: 'a.example', before })
  expect(await statuses()).toEqual([200, 401, 401, 401])
  await add(service, 'revocations', { kind: 'kid', value: 'k1' })
  expect(await statuses()).toEqual([401, 401, 401, 401])
  await service.stop()
  expect(readRecords(`${service.state}/decisions`).length).toBe(4 + 3 + 2 + 1)
})
