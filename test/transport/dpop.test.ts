// Callers with tokens that are bound to a key for proofs (RFC 9449, group D18), and tokens that count once, also across a restart.
import { createHmac, generateKeyPairSync } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { status } from '@grpc/grpc-js'
import { beforeAll, describe, expect, test } from '@jest/globals'
import { SignJWT } from 'jose'
import { type ProofKey, proofKey, proofOf } from '../support/dpop.ts'
import { call, grpcClient, stream } from '../support/grpc.ts'
import { question, startTestService, type TestService } from '../support/service.ts'
import { tempFolder } from '../support/temp-folder.ts'

const policy = { 'p.rego': 'package p\n\n# METADATA\n# entrypoint: true\nallow := true\n' }
const issuer = 'https://one.example'
const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const files = tempFolder({
  'jwks.json': JSON.stringify({ keys: [{ ...pair.publicKey.export({ format: 'jwk' }), kid: 'k', use: 'sig' }] }),
})
const settings = {
  'authentication.audiences': ['pdp'],
  'authentication.issuers': [{ issuer, jwksFile: `${files}/jwks.json` }],
  'authentication.callers': [{ issuer, roles: ['decide', 'audit'] }],
  'authentication.dpop.enabled': true,
}
let service: TestService
let nonceless: TestService
let key: ProofKey
let token: string
beforeAll(async () => {
  service = await startTestService(policy, settings)
  nonceless = await startTestService(policy, { ...settings, 'authentication.dpop.nonces': false })
  key = await proofKey()
  token = await make({ cnf: { jkt: key.thumbprint } })
})

const make = (more: object = {}) => {
  const iat = Math.floor(Date.now() / 1_000)
  return new SignJWT({ iss: issuer, sub: 's', client_id: 'c', aud: 'pdp', jti: 'j', iat, exp: iat + 60, ...more })
    .setProtectedHeader({ alg: 'ES256', kid: 'k', typ: 'at+jwt' })
    .sign(pair.privateKey)
}
const decideUrl = (of: TestService) => `${of.url}/v1/decide`
const show = async (of: TestService, proof: string | undefined, { scheme = 'DPoP', shown = token } = {}) => {
  const answer = await of.decide(question, { authorization: `${scheme} ${shown}`, ...(proof !== undefined && { dpop: proof }) })
  const { status, headers, json } = answer
  return {
    status,
    authenticate: headers.get('www-authenticate'),
    nonce: headers.get('dpop-nonce') ?? undefined,
    message: json.error?.message,
  }
}
const prove = (of: TestService, claims: object = {}, header: object = {}) =>
  show(of, proofOf(key, { method: 'POST', url: decideUrl(of), token }, claims, header))

describe('a proof', () => {
  test('with a nonce that the service gave is good once', async () => {
    const first = await prove(service)
    expect(first).toMatchObject({ status: 401, authenticate: expect.stringMatching(/^DPoP error="use_dpop_nonce", algs="ES256 /) })
    const proof = proofOf(key, { method: 'POST', url: decideUrl(service), token, nonce: first.nonce })
    expect(await show(service, proof)).toMatchObject({ status: 200, nonce: undefined })
    expect(await show(service, proof)).toMatchObject({ status: 401, message: expect.stringContaining('seen before') })
    expect(await prove(service, { nonce: first.nonce })).toMatchObject({ status: 200 })
  })

  test.each<[string, object, object]>([
    ['of another method', { htm: 'GET' }, {}],
    ['of a method in small letters', { htm: 'post' }, {}],
    ['of another path', { htu: 'http://127.0.0.1/v1/batch' }, {}],
    ['without a target', { htu: undefined }, {}],
    ['of another token', { ath: 'x' }, {}],
    ['of no token', { ath: undefined }, {}],
    ['from long ago', { iat: Math.floor(Date.now() / 1_000) - 70 }, {}],
    ['from the future', { iat: Math.floor(Date.now() / 1_000) + 30 }, {}],
    ['from no time', { iat: undefined }, {}],
    ['from a time in words', { iat: '1' }, {}],
    ['without an ID', { jti: undefined }, {}],
    ['with a long ID', { jti: 'x'.repeat(513) }, {}],
    ['of another type', {}, { typ: 'JWT' }],
    ['without an algorithm', {}, { alg: 'none' }],
    ['with a secret', {}, { alg: 'HS256' }],
    ['without a key', {}, { jwk: undefined }],
    ['with a key from elsewhere', {}, { jku: 'https://evil.example' }],
    ['that asks for an extension', {}, { crit: ['b64'], b64: false }],
  ])('%s is refused', async (_what, claims, header) => {
    const answer = await prove(nonceless, claims, header)
    expect(answer).toMatchObject({ status: 401, authenticate: expect.stringMatching(/^DPoP error="invalid_dpop_proof", algs=/) })
  })

  test('with a private key, by another key than it brings, of a key that the token is not bound to, is refused', async () => {
    const own = key.privateKey.export({ format: 'jwk' })
    const other = await proofKey()
    const target = { method: 'POST', url: decideUrl(nonceless), token }
    expect((await prove(nonceless, {}, { jwk: own })).status).toBe(401)
    expect((await prove(nonceless, {}, { jwk: other.publicKey.export({ format: 'jwk' }) })).status).toBe(401)
    const unbound = await show(nonceless, proofOf(other, target))
    expect(unbound).toMatchObject({ status: 401, authenticate: expect.stringContaining('invalid_token') })
    const [head, body] = proofOf(key, target).split('.') as [string, string]
    const mac = createHmac('sha256', key.publicKey.export({ format: 'der', type: 'spki' }))
      .update(`${head}.${body}`)
      .digest('base64url')
    expect((await show(nonceless, `${head}.${body}.${mac}`)).status).toBe(401)
  })

  test('is one: none, two in a field, two fields are refused', async () => {
    const target = { method: 'POST', url: decideUrl(nonceless), token }
    const two = `${proofOf(key, target)}, ${proofOf(key, target)}`
    expect([(await show(nonceless, undefined)).status, (await show(nonceless, two)).status]).toEqual([401, 401])
  })

  test.each([
    ['a query and a fragment', (url: string) => `${url}?a=b#c`, 200],
    ['capitals in scheme and host', (url: string) => url.replace('http:', 'HTTP:'), 200],
    ['https', (url: string) => url.replace('http:', 'https:'), 401],
    ['another port', (url: string) => url.replace(/:\d+/, ':1'), 401],
    ['another host', (url: string) => url.replace('127.0.0.1', 'localhost'), 401],
    ['a user', (url: string) => url.replace('127', 'u@127'), 401],
    ['a slash more', (url: string) => `${url}/`, 401],
  ])('for a target with %s: %s', async (_what, change, expected) => {
    expect((await prove(nonceless, { htu: change(decideUrl(nonceless)) })).status).toBe(expected)
  })

  test('for another route is not one for this', async () => {
    const acts = `${nonceless.url}/v1/acts`
    const get = async (dpop: string) => (await fetch(acts, { headers: { authorization: `DPoP ${token}`, dpop } })).status
    expect(await get(proofOf(key, { method: 'GET', url: acts, token }))).toBe(200)
    expect(await get(proofOf(key, { method: 'GET', url: decideUrl(nonceless), token }))).toBe(401)
  })

  test('is for where clients reach the service, where that is configured', async () => {
    const behind = await startTestService(policy, {
      ...settings,
      'authentication.dpop': { enabled: true, nonces: false, urls: ['https://pdp.example/authz'] },
    })
    expect((await prove(behind, { htu: 'https://PDP.example:443/authz/v1/decide' })).status).toBe(200)
    expect((await prove(behind)).status).toBe(401)
    await behind.stop()
  })
})

describe('a token', () => {
  test('that is bound is no bearer token, with or without a proof', async () => {
    const proof = proofOf(key, { method: 'POST', url: decideUrl(nonceless), token })
    const answers = [await show(nonceless, undefined, { scheme: 'Bearer' }), await show(nonceless, proof, { scheme: 'Bearer' })]
    for (const answer of answers) expect(answer).toMatchObject({ status: 401, authenticate: 'Bearer error="invalid_token"' })
  })

  test('that is not bound is good as a bearer token and no proof makes it another', async () => {
    const shown = await make()
    expect((await show(nonceless, undefined, { scheme: 'Bearer', shown })).status).toBe(200)
    const proof = proofOf(key, { method: 'POST', url: decideUrl(nonceless), token: shown })
    expect((await show(nonceless, proof, { shown })).status).toBe(401)
  })

  test('with a proof is refused where proofs are not taken, and at the doors of gateways', async () => {
    const without = await startTestService(policy, { ...settings, 'authentication.dpop.enabled': false })
    expect((await prove(without)).status).toBe(401)
    await without.stop()
    const url = `${nonceless.url}/v1/auth/envoy/x`
    const dpop = proofOf(key, { method: 'GET', url, token })
    expect((await fetch(url, { headers: { 'x-verdict-authorization': `DPoP ${token}`, dpop } })).status).toBe(403)
    const unbound = { 'x-verdict-authorization': `DPoP ${await make()}` }
    expect((await fetch(url, { headers: unbound })).status).toBe(403)
  })
})

test('over gRPC: a nonce in the trailers, then good once, for one method', async () => {
  const client = grpcClient(service.grpcAddress, 'verdict.v1.DecisionService')
  const url = `http://${service.grpcAddress}/verdict.v1.DecisionService/Decide`
  const ask = async (dpop: string) => call(client, 'Decide', question, { authorization: `DPoP ${token}`, dpop })
  const first = await ask(proofOf(key, { method: 'POST', url, token }))
  const nonce = first.trailers?.['dpop-nonce'] as string
  expect([first.code, typeof nonce]).toEqual([status.UNAUTHENTICATED, 'string'])
  const proof = proofOf(key, { method: 'POST', url, token, nonce })
  expect([(await ask(proof)).code, (await ask(proof)).code]).toEqual([status.OK, status.UNAUTHENTICATED])
  const batch = async (target: string) => {
    const metadata = { authorization: `DPoP ${token}`, dpop: proofOf(key, { method: 'POST', url: target, token, nonce }) }
    return (await stream(client, 'DecideBatch', [question], metadata)).code
  }
  expect([await batch(`${url}Batch`), await batch(url)]).toEqual([status.OK, status.UNAUTHENTICATED])
  const elsewhere = `http://pdp.evil.example/verdict.v1.DecisionService/Decide`
  expect((await ask(proofOf(key, { method: 'POST', url: elsewhere, token, nonce }))).code).toBe(status.UNAUTHENTICATED)
  // Nor by a call that says that it came there: whoever got the proof there could send it here.
  const named = { 'grpc.default_authority': 'pdp.evil.example' }
  const misled = grpcClient(service.grpcAddress, 'verdict.v1.DecisionService', undefined, named)
  const dpop = proofOf(key, { method: 'POST', url: elsewhere, token, nonce })
  expect((await call(misled, 'Decide', question, { authorization: `DPoP ${token}`, dpop })).code).toBe(status.UNAUTHENTICATED)
})

test('a nonce ends: the one before is still good and brings the next, older ones are refused', async () => {
  const short = await startTestService(policy, { ...settings, 'authentication.dpop.maxAgeMs': 1_000 })
  // From the beginning of a window, so that the test knows where the next ones begin.
  await sleep(1_050 - (Date.now() % 1_000))
  const { nonce } = await prove(short)
  expect((await prove(short, { nonce })).status).toBe(200)
  await sleep(1_000)
  const later = await prove(short, { nonce })
  expect([later.status, typeof later.nonce]).toEqual([200, 'string'])
  await sleep(1_000)
  expect([(await prove(short, { nonce })).status, (await prove(short, { nonce: later.nonce })).status]).toEqual([401, 200])
  await short.stop()
})

test('what was seen is known after a restart', async () => {
  const one = { issuer: 'https://once.example', jwksFile: `${files}/jwks.json`, oneTime: true }
  const both = {
    ...settings,
    'authentication.dpop.nonces': false,
    // A proof names the host that it is for, and a service that starts again has another port here.
    'authentication.dpop.urls': ['https://pdp.example'],
    'authentication.issuers': [...settings['authentication.issuers'], one],
    'authentication.callers': [...settings['authentication.callers'], { issuer: one.issuer, roles: ['decide'] }],
    'authentication.subjects': { audiences: ['shop'], issuers: [{ ...one, claims: {} }] },
  }
  const first = await startTestService(policy, both)
  const proof = proofOf(key, { method: 'POST', url: 'https://pdp.example/v1/decide', token })
  const once = await make({ iss: one.issuer, jti: 'caller' })
  const [subject, batch] = [
    await make({ iss: one.issuer, aud: 'shop', jti: 'subject' }),
    await make({ iss: one.issuer, aud: 'shop', jti: 'batch' }),
  ]
  const id = 's'
  const bearer = { authorization: `Bearer ${await make()}` }
  const answers = async (of: TestService) => {
    const asked = await of.decide({ ...question, subject: { type: 'u', id }, token: subject }, bearer)
    const many = await of.decide({ ...question, subject: { type: 'u', id }, token: batch, evaluations: [{}, {}] }, bearer)
    return [
      (await show(of, proof)).status,
      (await show(of, undefined, { scheme: 'Bearer', shown: once })).status,
      asked.json.context.error?.code ?? asked.json.decision,
      many.json.evaluations.map((one: { decision: boolean }) => one.decision),
    ]
  }
  expect(await answers(first)).toEqual([200, 200, true, [true, true]])
  const seen = [401, 401, 'ERR_REPLAYED', [false, false]]
  expect(await answers(first)).toEqual(seen)
  await first.stop()
  const again = await startTestService(policy, { ...both, state: first.state })
  expect(await answers(again)).toEqual(seen)
  await again.stop()
})

test('reachable from elsewhere without a name of its own: no start', async () => {
  await expect(startTestService(policy, { ...settings, 'server.host': '0.0.0.0' })).rejects.toMatchObject({
    findings: expect.arrayContaining([expect.objectContaining({ message: expect.stringContaining('authentication.dpop.urls') })]),
  })
})
