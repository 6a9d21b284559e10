// Subjects' own tokens at every door that takes them: what the policy sees of one, whose question it is then, and what is refused.
import { generateKeyPairSync } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from '@jest/globals'
import { SignJWT } from 'jose'
import { recordSchema } from '../../src/audit/record-schema.ts'
import { admin } from '../support/bundles.ts'
import { call, grpcClient, stream } from '../support/grpc.ts'
import { readRecords, startTestService, type TestService } from '../support/service.ts'
import { tempFolder } from '../support/temp-folder.ts'

const policy = {
  'p.rego': `package p

# METADATA
# entrypoint: true
decision := {"allow": true, "context": {"trusted": object.remove(input.trusted, ["caller"]), "subject": object.get(input, "subject", null)}}
`,
}
const issuer = 'https://idp.example'
const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const other = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const folder = tempFolder()
const jwks = (key: typeof ec, kid: string, use: string) =>
  JSON.stringify({ keys: [{ ...key.publicKey.export({ format: 'jwk' }), kid, use }] })
writeFileSync(join(folder, 'keys'), jwks(ec, 'k', 'sig'))
writeFileSync(join(folder, 'svids'), jwks(ec, 's', 'jwt-svid'))
const settings = {
  'authentication.subjects.audiences': ['shop'],
  'authentication.subjects.issuers': [
    {
      issuer,
      jwksFile: join(folder, 'keys'),
      claims: { sub: '/sub', groups: '/realm/groups', level: '/level', missing: '/realm/nothing', slash: '/a~1b' },
    },
  ],
  'authentication.trustDomains': [{ name: 'a.example', jwksFile: join(folder, 'svids') }],
  'authentication.audiences': ['pdp'],
}
let service: TestService
beforeAll(async () => {
  service = await startTestService(policy, settings)
})

const seconds = () => Math.floor(Date.now() / 1_000)
const make = (claims: object = {}, { key = ec.privateKey, kid = 'k', typ = 'at+jwt' } = {}) =>
  new SignJWT({ iss: issuer, sub: 'alice', client_id: 'web', aud: 'shop', jti: 'j', iat: seconds(), exp: seconds() + 60, ...claims })
    .setProtectedHeader({ alg: 'ES256', kid, typ })
    .sign(key)
const ask = (id = 'alice') => ({ subject: { type: 'user', id }, action: { name: 'GET' }, resource: { type: 'route', id: '/x' } })

/** What each door says to a question that brings a token: whether it lets pass, in its own words. */
async function doors(of: TestService, token: string): Promise<Record<string, unknown>> {
  const post = async (path: string, body: object) => {
    const response = await fetch(`${of.url}${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    })
    // biome-ignore lint/suspicious/noExplicitAny: answers of any shape
    const { decision, context } = (await response.json()) as any
    return [response.status, decision, context.error?.code]
  }
  const authorization = `Bearer ${token}`
  const forwarded = { 'x-forwarded-method': 'GET', 'x-forwarded-uri': '/x', 'x-forwarded-host': 'h', authorization }
  const original = { 'x-original-method': 'GET', 'x-original-uri': '/x', authorization }
  const gateway = async (path: string, headers: Record<string, string>) => {
    const response = await fetch(`${of.url}/v1/auth${path}`, { headers })
    return [response.status, response.headers.get('www-authenticate')]
  }
  const decisions = grpcClient(of.grpcAddress, 'verdict.v1.DecisionService')
  const grpc = await call(decisions, 'Decide', { ...ask(), token })
  const batch = await stream(decisions, 'DecideBatch', [{ ...ask(), token }])
  const envoy = grpcClient(of.grpcAddress, 'envoy.service.auth.v3.Authorization')
  const http = { method: 'GET', path: '/x', host: 'h', protocol: 'HTTP/1.1', headers: { authorization } }
  const check = await call(envoy, 'Check', { attributes: { request: { http } } })
  return {
    native: await post('/v1/decide', { ...ask(), token }),
    authzen: await post('/access/v1/evaluation', { ...ask(), token }),
    nginx: await gateway('/nginx', original),
    traefik: await gateway('/traefik', forwarded),
    caddy: await gateway('/caddy', forwarded),
    any: await gateway('', forwarded),
    envoyHttp: await gateway('/envoy/x', { authorization }),
    grpc: [grpc.code, grpc.message.decision.decision, grpc.message.decision.error?.code],
    batch: [batch.code, batch.messages[0].decisions[0].decision],
    check: [check.code, check.message.status?.code ?? 0],
  }
}
const gateways = (row: unknown) => ({ nginx: row, traefik: row, caddy: row, any: row, envoyHttp: row })
const passing = {
  native: [200, true, undefined],
  authzen: [200, true, undefined],
  ...gateways([200, null]),
  grpc: [0, true, undefined],
  batch: [0, true],
  check: [0, 0],
}
const denied = (code: string, gateway: unknown, check: number) => ({
  native: [200, false, code],
  authzen: [200, false, code],
  ...gateways(gateway),
  grpc: [0, false, code],
  batch: [0, false],
  check: [0, check],
})
const invalid = denied('ERR_TOKEN_INVALID', [401, 'Bearer error="invalid_token"'], 16)

describe('at every door', () => {
  test('a good token passes', async () => expect(await doors(service, await make())).toEqual(passing))

  test.each<[string, () => Promise<string>]>([
    ['by another key', () => make({}, { key: other.privateKey })],
    ['for this service, as callers bring it', () => make({ aud: 'pdp' })],
    ['for both', () => make({ aud: ['shop', 'pdp'] })],
    ['of another issuer', () => make({ iss: 'https://idp.example/' })],
    ['that has expired', () => make({ iat: seconds() - 200, exp: seconds() - 60 })],
    ['that is an ID token', () => make({}, { typ: 'JWT' })],
    ['that is none', async () => 'opaque'],
    ['that is encrypted', async () => 'eyJhbGciOiJkaXIiLCJlbmMiOiJBMTI4R0NNIn0..AAAA.AAAA.AAAA'],
  ])('one %s is denied as a token that is not good', async (_what, token) => {
    expect(await doors(service, await token())).toEqual(invalid)
  })

  test.each([
    ['revocations', 'ERR_REVOKED', 'jti', 'gone'],
    ['revocations', 'ERR_REVOKED', 'subject', 'mallory'],
    ['revocations', 'ERR_REVOKED', 'client', `${issuer}|lost`],
    ['quarantines', 'ERR_QUARANTINED', 'subject', 'suspect'],
    ['quarantines', 'ERR_QUARANTINED', 'client', `${issuer}|odd`],
  ] as const)('%s: %s by %s', async (what, code, kind, value) => {
    const tried = await startTestService(policy, { ...settings, 'authentication.subjects.mayDiffer': true })
    const names = { jti: 'jti', subject: 'sub', client: 'client_id' }
    const token = await make({ [names[kind]]: value.split('|').at(-1) })
    expect(await doors(tried, token)).toEqual(passing)
    expect((await admin(tried, 'POST', `/v1/${what}`, { kind, value })).status).toBe(201)
    expect(await doors(tried, token)).toEqual(denied(code, [403, null], 7))
    expect(await doors(tried, await make())).toEqual(passing)
    await tried.stop()
  })
})

describe('what the policy sees', () => {
  const seen = async (claims: object, more: object = {}) =>
    JSON.parse((await service.decide({ ...ask(), token: await make(claims), ...more })).text).context

  test('the claims that are listed, and what the token is bound to', async () => {
    const claims = { realm: { groups: ['a', 'b'], secret: 1 }, 'a/b': true, cnf: { jkt: 'abc' } }
    expect((await seen(claims)).trusted.token).toEqual({ sub: 'alice', groups: ['a', 'b'], slash: true, cnf: { jkt: 'abc' } })
    expect((await service.decide(ask())).json.context.trusted.token).toBeUndefined()
  })

  test('numbers with their digits', async () => {
    const [head, , signature] = (await make()).split('.') as [string, string, string]
    expect(signature).not.toBe('')
    const payload = `{"iss":"${issuer}","sub":"alice","client_id":"c","aud":"shop","jti":"j","iat":${seconds()},"exp":${seconds() + 60},"level":9007199254740993}`
    const { sign } = await import('node:crypto')
    const signed = `${head}.${Buffer.from(payload).toString('base64url')}`
    const token = `${signed}.${sign('sha256', Buffer.from(signed), { key: ec.privateKey, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`
    expect((await service.decide({ ...ask(), token })).text).toContain('"level":9007199254740993')
  })

  test('not what a caller says under the same name', async () => {
    const answer = await service.decide({ ...ask(), trusted: { token: { sub: 'root' } }, context: { trusted: 1 } })
    expect(answer.json.context.trusted.token).toBeUndefined()
  })

  test('behind a gateway the subject is the one of the token', async () => {
    const headers = { 'x-original-method': 'GET', 'x-original-uri': '/x', authorization: `DPoP ${await make({ cnf: { jkt: 'k' } })}` }
    const { status, headers: answered } = await fetch(`${service.url}/v1/auth/nginx`, { headers })
    expect(status).toBe(200)
    await new Promise((resolve) => setTimeout(resolve, 200))
    const id = answered.get('x-verdict-decision-id')
    const record = readRecords(join(service.state, 'decisions')).find((one) => one.id === id)
    expect(recordSchema.safeParse(record).error).toBeUndefined()
    const identity = { type: 'identity', id: 'alice' }
    expect(record).toMatchObject({
      subject: identity,
      input: { subject: identity },
      trusted: { token: { sub: 'alice', cnf: { jkt: 'k' } } },
    })
  })

  test('a JWT-SVID for the audience of subjects', async () => {
    const sub = 'spiffe://a.example/job'
    const token = await make({ sub, iss: undefined }, { kid: 's', typ: 'JWT' })
    const { json } = await service.decide({ ...ask(sub), token })
    expect([json.decision, json.context.trusted.token]).toEqual([true, { sub }])
  })
})

describe('a question about another subject', () => {
  test('is denied, each item of a batch by itself', async () => {
    const token = await make()
    const { json } = await service.decide({ ...ask('bob'), token })
    expect([json.decision, json.context.error.code]).toEqual([false, 'ERR_SUBJECT_MISMATCH'])
    const batch = await service.decide({ ...ask('bob'), token, evaluations: [{}, ask('alice'), ask('Alice')] })
    expect(batch.json.evaluations.map(({ decision }: { decision: boolean }) => decision)).toEqual([false, true, false])
    expect(await doors(service, await make({ sub: 'bob' }))).toEqual({
      ...denied('ERR_SUBJECT_MISMATCH', [200, null], 0),
    })
  })

  test('passes where that is configured, and both are looked up among those who are isolated', async () => {
    const tried = await startTestService(policy, { ...settings, 'authentication.subjects.mayDiffer': true })
    const token = await make()
    expect((await tried.decide({ ...ask('bob'), token })).json.decision).toBe(true)
    await admin(tried, 'POST', '/v1/quarantines', { kind: 'subject', value: 'alice' })
    expect((await tried.decide({ ...ask('bob'), token })).json.context.error.code).toBe('ERR_QUARANTINED')
    await tried.stop()
  })
})

test('no token is in a record or a log line, also where it is refused', async () => {
  const tokens = [await make(), await make({}, { key: other.privateKey }), 'not-a-token-but-secret']
  for (const token of tokens) await doors(service, token)
  await new Promise((resolve) => setTimeout(resolve, 200))
  const written = JSON.stringify([
    ...service.logged,
    ...readRecords(join(service.state, 'decisions')).filter(({ door }) => !/envoy/.test(`${door}`)),
  ])
  expect(tokens.filter((token) => written.includes(token))).toEqual([])
})

test('other credentials than a token are no identity at forward auth, and the policy’s own matter at Envoy', async () => {
  const basic = { authorization: 'Basic YTpi' }
  const nginx = await fetch(`${service.url}/v1/auth/nginx`, { headers: { 'x-original-method': 'GET', 'x-original-uri': '/x', ...basic } })
  const envoy = await fetch(`${service.url}/v1/auth/envoy/x`, { headers: basic })
  expect([nginx.status, envoy.status]).toEqual([401, 200])
})

test.each([
  ['no audience', { 'authentication.subjects.audiences': [] }, 'set authentication.subjects.audiences'],
  ['an audience of callers', { 'authentication.audiences': ['pdp', 'shop'] }, 'could be taken for a subject'],
])('%s: no start', async (_what, more, message) => {
  await expect(startTestService(policy, { ...settings, ...more })).rejects.toMatchObject({
    findings: expect.arrayContaining([expect.objectContaining({ message: expect.stringContaining(message) })]),
  })
})
