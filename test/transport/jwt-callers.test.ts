// Callers that show who they are by a JWT-SVID, at every door, and what happens when the keys of their trust domain change.
import { generateKeyPairSync } from 'node:crypto'
import { renameSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { status } from '@grpc/grpc-js'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { SignJWT } from 'jose'
import { call, grpcClient, stream } from '../support/grpc.ts'
import { question, startTestService, type TestService } from '../support/service.ts'
import { tempFolder } from '../support/temp-folder.ts'

const gateway = 'spiffe://a.example/ns/prod/gateway'
const policy = {
  'p.rego': `package p

# METADATA
# entrypoint: true
decision := {"allow": input.trusted.caller.spiffe_id == "${gateway}", "context": {"caller": input.trusted.caller}}
`,
}
const first = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const second = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const folder = tempFolder()

function publish(...pairs: (typeof first)[]): void {
  const keys = pairs.map(({ publicKey }, i) => ({ ...publicKey.export({ format: 'jwk' }), kid: `${i}`, use: 'jwt-svid' }))
  writeFileSync(`${folder}/jwks.new`, JSON.stringify({ keys }))
  renameSync(`${folder}/jwks.new`, `${folder}/jwks.json`)
}

const tokenOf = (sub: string, { key = first.privateKey, kid = '0', aud = 'pdp', life = 300 } = {}) =>
  new SignJWT({ sub, aud, exp: Math.floor(Date.now() / 1_000) + life }).setProtectedHeader({ alg: 'ES256', kid, typ: 'JWT' }).sign(key)

let service: TestService
beforeAll(async () => {
  publish(first)
  service = await startTestService(policy, {
    'authentication.audiences': ['pdp'],
    'authentication.trustDomains': [{ name: 'a.example', jwksFile: `${folder}/jwks.json` }],
    'authentication.callers': [
      { spiffeId: 'spiffe://a.example/ns/prod/*', roles: ['decide'] },
      { spiffeId: 'spiffe://a.example/ci/deploy', roles: ['audit'] },
    ],
  })
})
afterAll(() => service.service.close())

const bearer = (token: string) => ({ authorization: `Bearer ${token}` })

test('every door lets them in, as whom they are', async () => {
  const headers = bearer(await tokenOf(gateway))
  const caller = { authenticated: true, id: gateway, spiffe_id: gateway, address: '127.0.0.1' }
  expect((await service.decide(question, headers)).json).toMatchObject({ decision: true, context: { caller } })
  const data = await fetch(`${service.url}/v1/data/p/decision`, {
    method: 'POST',
    body: '{"input":{}}',
    headers: { 'content-type': 'application/json', ...headers },
  })
  expect(await data.json()).toMatchObject({ result: { allow: true } })
  const forward = { 'x-forwarded-method': 'GET', 'x-forwarded-uri': '/', 'x-forwarded-host': 'h' }
  const asked = (fields: Record<string, string>) => fetch(`${service.url}/v1/auth/traefik`, { headers: { ...forward, ...fields } })
  expect((await asked({ 'x-verdict-authorization': headers.authorization })).status).toBe(200)
  expect((await asked({})).status).toBe(403)
  const decisions = grpcClient(service.grpcAddress, 'verdict.v1.DecisionService')
  const decided = await call(decisions, 'Decide', question, headers)
  expect(JSON.parse(decided.message.decision.context_json).caller).toEqual(caller)
  expect((await stream(decisions, 'DecideBatch', [question], headers)).messages[0].decisions[0].decision).toBe(true)
  const check = { attributes: { request: { http: { method: 'GET', path: '/', host: 'h', protocol: 'HTTP/1.1' } } } }
  const envoy = grpcClient(service.grpcAddress, 'envoy.service.auth.v3.Authorization')
  expect((await call(envoy, 'Check', check, headers)).message.status?.code ?? 0).toBe(0)
  expect((await call(envoy, 'Check', check, bearer(await tokenOf(gateway, { aud: 'x' })))).message.status.code).toBe(7)
})

test.each<[string, () => Promise<string>, number]>([
  ['another audience', () => tokenOf(gateway, { aud: 'other' }), 401],
  ['expired', () => tokenOf(gateway, { life: -60 }), 401],
  ['an unknown trust domain', () => tokenOf('spiffe://b.example/x'), 401],
  ['another key', () => tokenOf(gateway, { key: second.privateKey }), 401],
  ['no token at all', async () => 'eyJ.x.y', 401],
  ['a workload without the role', () => tokenOf('spiffe://a.example/ci/deploy'), 403],
])('%s: %s', async (_what, make, expected) => {
  const headers = bearer(await make())
  expect((await service.decide(question, headers)).status).toBe(expected)
  const outcome = await call(grpcClient(service.grpcAddress, 'verdict.v1.DecisionService'), 'Decide', question, headers)
  expect(outcome.code).toBe(expected === 401 ? status.UNAUTHENTICATED : status.PERMISSION_DENIED)
})

test('a workload without the role is refused at every door, in its own words', async () => {
  const headers = bearer(await tokenOf('spiffe://a.example/ci/deploy'))
  const post = async (path: string) =>
    (await fetch(`${service.url}${path}`, { method: 'POST', body: '{}', headers: { 'content-type': 'application/json', ...headers } }))
      .status
  expect(await Promise.all(['/v1/decide', '/access/v1/evaluation', '/access/v1/evaluations', '/v1/data/p/decision'].map(post))).toEqual([
    403, 403, 403, 403,
  ])
  const own = {
    'x-verdict-authorization': headers.authorization,
    'x-forwarded-method': 'GET',
    'x-forwarded-uri': '/',
    'x-forwarded-host': 'h',
  }
  for (const path of ['/v1/auth/traefik', '/v1/auth/envoy/x'])
    expect((await fetch(`${service.url}${path}`, { headers: own })).status).toBe(403)
  const decisions = grpcClient(service.grpcAddress, 'verdict.v1.DecisionService')
  expect((await call(decisions, 'Decide', question, headers)).code).toBe(status.PERMISSION_DENIED)
  expect((await stream(decisions, 'DecideBatch', [question], headers)).code).toBe(status.PERMISSION_DENIED)
  const envoy = grpcClient(service.grpcAddress, 'envoy.service.auth.v3.Authorization')
  const check = await call(envoy, 'Check', { attributes: { request: { http: { method: 'GET', path: '/', host: 'h' } } } }, headers)
  expect([check.code, check.message.status.code]).toEqual([status.OK, 7])
})

test('a role of the other scope lets in there', async () => {
  const acts = (token: string) => fetch(`${service.url}/v1/acts`, { headers: bearer(token) }).then(({ status }) => status)
  expect([await acts(await tokenOf('spiffe://a.example/ci/deploy')), await acts(await tokenOf(gateway))]).toEqual([200, 403])
})

test('keys that are replaced count at once; half a file changes nothing', async () => {
  const [old, fresh] = [await tokenOf(gateway), await tokenOf(gateway, { key: second.privateKey })]
  const statusOf = async (token: string) => (await service.decide(question, bearer(token))).status
  expect([await statusOf(old), await statusOf(fresh)]).toEqual([200, 401])
  writeFileSync(`${folder}/jwks.json`, '{"keys":[')
  await sleep(500)
  expect(await statusOf(old)).toBe(200)
  publish(second)
  await sleep(500)
  expect([await statusOf(old), await statusOf(fresh)]).toEqual([401, 200])
  // An older set, by its sequence, is not taken; one without any key is, and then nobody is believed.
  const set = (spiffe_sequence: number, ...keys: object[]) =>
    writeFileSync(`${folder}/jwks.json`, JSON.stringify({ spiffe_sequence, keys }))
  const jwk = (of: typeof first) => ({ ...of.publicKey.export({ format: 'jwk' }), kid: '0', use: 'jwt-svid' })
  set(7, jwk(second))
  await sleep(500)
  set(6, jwk(first))
  await sleep(500)
  expect([await statusOf(old), await statusOf(fresh)]).toEqual([401, 200])
  set(8)
  await sleep(500)
  expect([await statusOf(old), await statusOf(fresh)]).toEqual([401, 401])
})
