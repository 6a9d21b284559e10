// Tokens that only their issuer can read (RFC 7662): who asks, what of an answer is believed and for how long, and what happens while
// the issuer is away.
import { generateKeyPairSync } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo, Server } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { TLSSocket } from 'node:tls'
import { status } from '@grpc/grpc-js'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import { jwtVerify } from 'jose'
import { admin } from '../support/bundles.ts'
import { TestAuthority } from '../support/certificates.ts'
import { proofKey, proofOf } from '../support/dpop.ts'
import { call, grpcClient } from '../support/grpc.ts'
import { metricsOf, question, readRecords, startTestService, type TestService } from '../support/service.ts'
import { tempFolder } from '../support/temp-folder.ts'

const policy = {
  'p.rego':
    'package p\n\n# METADATA\n# entrypoint: true\ndecision := {"allow": true, "context": {"caller": input.trusted.caller, "token": object.get(input.trusted, "token", null)}}\n',
}
const issuer = 'https://idp.example'
const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const files = tempFolder({
  'key.pem': pair.privateKey.export({ type: 'pkcs8', format: 'pem' }) as string,
  other: 'a-token-of-a-file-0123456789',
})

/** What was asked, and what is answered by token. */
let asked: { form: URLSearchParams; peer: string | undefined }[] = []
let answers: Record<string, object | ((response: ServerResponse) => void)> = {}
const serve = async (request: IncomingMessage, response: ServerResponse) => {
  let body = ''
  for await (const part of request) body += part
  const form = new URLSearchParams(body)
  asked.push({ form, peer: (request.socket as TLSSocket).getPeerCertificate?.().subject?.CN as string | undefined })
  const answer = answers[form.get('token') ?? ''] ?? { active: false }
  if (typeof answer === 'function') answer(response)
  else response.setHeader('content-type', 'application/json').end(JSON.stringify(answer))
}
const servers: Server[] = []
const listen = async (server: Server) => {
  servers.push(server.listen(0, '127.0.0.1'))
  await new Promise((resolve) => server.once('listening', resolve))
  return (server.address() as AddressInfo).port
}

const seconds = () => Math.floor(Date.now() / 1_000)
const claims = (more: object = {}) => ({
  active: true,
  sub: 's',
  client_id: 'shop',
  scope: 'decide',
  aud: 'pdp',
  iat: seconds(),
  exp: seconds() + 60,
  ...more,
})
const callers = [
  { issuer, scope: 'decide', roles: ['decide'] },
  { id: 'other', tokenFile: `${files}/other`, roles: ['decide'] },
]
let url: string
let service: TestService
const settings = (more: object = {}) => ({
  'authentication.audiences': ['pdp'],
  'authentication.issuers': [
    {
      issuer,
      timeoutMs: 500,
      introspection: { url, clientId: 'pdp-client', keyFile: `${files}/key.pem`, keyId: 'k1', cacheMs: 2_000, ...more },
    },
  ],
  'authentication.callers': callers,
})
beforeAll(async () => {
  url = `http://127.0.0.1:${await listen(createServer((request, response) => void serve(request, response)))}/introspect`
  service = await startTestService(policy, settings())
})
beforeEach(() => {
  asked = []
  answers = { good: claims() }
})
afterAll(async () => {
  await service.service.close()
  for (const server of servers) server.close()
})

const ask = (token: string, of = service) => of.decide(question, { authorization: `Bearer ${token}` })
const statusOf = async (token: string) => (await ask(token)).status

test('the issuer is asked with an assertion of the service, and its answer is who calls, over HTTP and gRPC', async () => {
  const { status: answered, json } = await ask('good')
  expect([answered, json.context.caller]).toEqual([
    200,
    { authenticated: true, id: `${issuer}|s`, issuer, client_id: 'shop', scopes: ['decide'], address: '127.0.0.1' },
  ])
  const { form } = asked[0] as (typeof asked)[number]
  expect([form.get('client_id'), form.get('token_type_hint')]).toEqual(['pdp-client', 'access_token'])
  const assertion = await jwtVerify(form.get('client_assertion') as string, pair.publicKey, { audience: issuer, issuer: 'pdp-client' })
  expect([assertion.protectedHeader, assertion.payload.sub]).toEqual([{ alg: 'ES256', kid: 'k1' }, 'pdp-client'])
  const grpc = grpcClient(service.grpcAddress, 'verdict.v1.DecisionService')
  const said = async (token: string) => (await call(grpc, 'Decide', question, { authorization: `Bearer ${token}` })).code
  expect([await said('good'), await said('bad')]).toEqual([status.OK, status.UNAUTHENTICATED])
  expect((await ask('a-token-of-a-file-0123456789')).json.context.caller.id).toBe('other')
  expect([...new Set(asked.map(({ form }) => form.get('token')))]).toEqual(['good', 'bad'])
  expect(await metricsOf(service)).toContain(
    `verdict_issuer_request_duration_seconds_count{request="introspection",outcome="ok"} ${asked.length}\n`,
  )
})

test('by its certificate, where that is configured', async () => {
  const authority = await TestAuthority.create('a', ['spiffe://a.example'])
  const [own, server] = [await authority.issue('pdp', {}), await authority.issue('idp', { ips: ['127.0.0.1'] })]
  const pem = tempFolder({ 'ca.pem': authority.cert, 'cert.pem': own.cert, 'key.pem': own.key })
  const tls = { ca: authority.cert, cert: server.cert, key: server.key, requestCert: true, rejectUnauthorized: true }
  const port = await listen(createTlsServer(tls, (request, response) => void serve(request, response)))
  const more = {
    keyFile: undefined,
    url: `https://127.0.0.1:${port}`,
    tls: { caFile: `${pem}/ca.pem`, certFile: `${pem}/cert.pem`, keyFile: `${pem}/key.pem` },
  }
  const tried = await startTestService(policy, settings(more))
  expect((await ask('good', tried)).status).toBe(200)
  expect([asked[0]?.peer, asked[0]?.form.get('client_assertion')]).toEqual(['pdp', null])
  await tried.stop()
})

describe('an answer', () => {
  test.each<[string, object, number]>([
    ['that it is not active, with claims all the same', claims({ active: false }), 401],
    ['that says so in words', claims({ active: 'true' }), 401],
    ['that does not say it', claims({ active: undefined }), 401],
    ['for somebody else', claims({ aud: 'shop' }), 401],
    ['for nobody', claims({ aud: undefined }), 401],
    ['for others, too', claims({ aud: ['pdp', 'shop'] }), 401],
    ['of another issuer', claims({ iss: 'https://evil.example' }), 401],
    ['of this issuer by name', claims({ iss: issuer }), 200],
    ['that has expired', claims({ exp: seconds() - 31 }), 401],
    ['without an end', claims({ exp: undefined }), 401],
    ['that lives for too long', claims({ exp: seconds() + 7_200 }), 401],
    ['without a subject', claims({ sub: undefined }), 401],
    ['with a list as a scope', claims({ scope: ['decide'] }), 401],
    ['without the scope', claims({ scope: 'profile' }), 403],
    ['that is bound to a certificate', claims({ cnf: { 'x5t#S256': 'abc' } }), 401],
    ['that is bound to a key', claims({ cnf: { jkt: 'abc' } }), 401],
  ])('%s: %s', async (name, answer, expected) => {
    const token = name.replace(/\W/g, '-')
    answers[token] = answer
    expect(await statusOf(token)).toBe(expected)
  })

  const raw =
    (text: string, type = 'application/json', code = 200) =>
    (response: ServerResponse) =>
      response.writeHead(code, { 'content-type': type }).end(text)
  test.each<[string, (response: ServerResponse) => void]>([
    ['with a member twice', raw('{"active":false,"active":true,"sub":"s","aud":"pdp","exp":9e9}')],
    ['of another type', raw(JSON.stringify(claims()), 'text/html')],
    ['that is a failure', raw(JSON.stringify(claims()), 'application/json', 500)],
    ['that redirects', (response) => void response.writeHead(307, { location: url }).end()],
    ['that is a list', raw(JSON.stringify([claims()]))],
    ['that is large', raw(JSON.stringify(claims({ more: 'x'.repeat(70_000) })))],
    ['that does not come', () => {}],
    [
      'that breaks off',
      (response) => void response.writeHead(200, { 'content-type': 'application/json' }).write('{"act', () => response.destroy()),
    ],
  ])('%s is none, and is not remembered', async (name, answer) => {
    const token = name.replace(/\W/g, '-')
    answers[token] = answer
    expect(await statusOf(token)).toBe(401)
    answers[token] = claims()
    expect(await statusOf(token)).toBe(200)
    expect(JSON.stringify(service.logged)).not.toContain(token)
  })
})

describe('what was answered', () => {
  test('is believed for a while, also that a token is not active, and asked for once by many', async () => {
    answers.many = claims()
    const many = await Promise.all(Array.from({ length: 20 }, () => statusOf('many')))
    expect([new Set(many), asked.length]).toEqual([new Set([200]), 1])
    expect([await statusOf('unknown'), await statusOf('unknown'), asked.length]).toEqual([401, 401, 2])
    answers.many = { active: false }
    expect(await statusOf('many')).toBe(200)
    await sleep(2_050)
    expect(await statusOf('many')).toBe(401)
  })

  test('is not believed at all where that is configured', async () => {
    const tried = await startTestService(policy, settings({ cacheMs: 0 }))
    answers.each = claims()
    expect([(await ask('each', tried)).status, (await ask('each', tried)).status, asked.length]).toEqual([200, 200, 2])
    await tried.stop()
  })

  test('ends with the token', async () => {
    const tried = await startTestService(policy, settings({ cacheMs: 60_000 }))
    // Within the skew, so that it is good when it comes, and over at once.
    answers.short = claims({ exp: seconds() - 29 })
    expect((await ask('short', tried)).status).toBe(200)
    await sleep(1_500)
    expect((await ask('short', tried)).status).toBe(401)
    await tried.stop()
  })

  test('does not outlive a revocation', async () => {
    answers.revoked = claims({ jti: 'j-revoked' })
    expect(await statusOf('revoked')).toBe(200)
    await admin(service, 'POST', '/v1/revocations', { kind: 'jti', value: 'j-revoked' })
    expect(await statusOf('revoked')).toBe(401)
  })
})

test('a token that is bound to a key is good with a proof', async () => {
  const key = await proofKey()
  answers.bound = claims({ cnf: { jkt: key.thumbprint } })
  const tried = await startTestService(policy, { ...settings(), 'authentication.dpop': { enabled: true, nonces: false } })
  const dpop = proofOf(key, { method: 'POST', url: `${tried.url}/v1/decide`, token: 'bound' })
  expect((await tried.decide(question, { authorization: 'DPoP bound', dpop })).status).toBe(200)
  expect((await ask('bound', tried)).status).toBe(401)
  await tried.stop()
})

test('subjects’ tokens, too; what is no token by its form is not sent anywhere', async () => {
  const issuers = [{ issuer, introspection: { url, clientId: 'c', keyFile: `${files}/key.pem` } }]
  const tried = await startTestService(policy, { 'authentication.subjects': { audiences: ['shop'], issuers } })
  answers.subject = claims({ aud: 'shop', sub: 'alice', level: 3 })
  const subject = { type: 'user', id: 'alice' }
  const said = async (token: string) => (await tried.decide({ ...question, subject, token })).json
  expect((await said('subject')).context.token).toEqual({ sub: 'alice', client_id: 'shop', scope: 'decide' })
  expect((await said('good')).context.error.code).toBe('ERR_TOKEN_INVALID')
  const before = asked.length
  for (const bad of ['a b', 'a\nb', 'é', 'eyJhbGciOiJub25lIn0.eyJpc3MiOiJ4In0.AA', 'x'.repeat(16_385)]) {
    const { decision, context } = await said(bad)
    expect(decision ?? false).toBe(false)
    expect(context?.error.code ?? 'ERR_TOKEN_INVALID').toBe('ERR_TOKEN_INVALID')
  }
  expect(asked.length).toBe(before)
  const records = await tried.stop()
  expect(JSON.stringify(records)).not.toContain('"subject"}')
})

test('no token that was asked about is in a log or a record', async () => {
  answers['canary-token-of-a-caller'] = claims()
  await ask('canary-token-of-a-caller')
  await ask('canary-token-that-is-bad')
  await sleep(200)
  expect(JSON.stringify([service.logged, readRecords(`${service.state}/decisions`)])).not.toContain('canary-token')
})

test.each<[string, readonly string[], object, string]>([
  ['two issuers that would have to be asked', ['https://a.example', 'https://b.example'], {}, 'only one may have'],
  ['nothing that says who asks', [issuer], { keyFile: undefined }, 'who it is'],
  ['a key that is none', [issuer], { keyFile: `${files}/other` }, 'no private key'],
  ['a server in clear text elsewhere', [issuer], { url: 'http://idp.example' }, 'is not https'],
])('%s: no start', async (_what, names, more, message) => {
  const introspection = { url, clientId: 'c', keyFile: `${files}/key.pem`, ...more }
  const issuers = names.map((name) => ({ issuer: name, introspection }))
  const starting = startTestService(policy, { ...settings(), 'authentication.issuers': issuers }).catch((error: unknown) => error)
  const error = (await starting) as { message: string; findings: { message: string }[] }
  expect([error.message, ...error.findings.map(({ message }) => message)].join('\n')).toContain(message)
})
