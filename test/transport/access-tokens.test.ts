// Callers with access tokens of issuers: who they are, which roles their client and scope give, and keys that change under load.
import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { status } from '@grpc/grpc-js'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { SignJWT } from 'jose'
import { recordSchema } from '../../src/audit/record-schema.ts'
import { call, grpcClient } from '../support/grpc.ts'
import { question, readRecords, startTestService, type TestService } from '../support/service.ts'

const policy = {
  'p.rego': 'package p\n\n# METADATA\n# entrypoint: true\ndecision := {"allow": true, "context": {"caller": input.trusted.caller}}\n',
}
const pair = () => generateKeyPairSync('ec', { namedCurve: 'P-256' })
const keys = { one: pair(), two: pair() }
const issuers = { one: 'https://one.example', two: 'https://two.example/' }
let served: Record<string, { kid: string; key: KeyObject }[]>
let server: Server
let service: TestService

beforeAll(async () => {
  // Both issuers call their key the same.
  served = { '/one': [{ kid: 'k', key: keys.one.publicKey }], '/two': [{ kid: 'k', key: keys.two.publicKey }] }
  server = createServer(({ url }, response) => {
    response.end(
      JSON.stringify({ keys: served[url ?? '']?.map(({ kid, key }) => ({ ...key.export({ format: 'jwk' }), kid, use: 'sig' })) }),
    )
  }).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const at = (path: string) => `http://127.0.0.1:${(server.address() as AddressInfo).port}${path}`
  service = await startTestService(policy, {
    'authentication.audiences': ['pdp'],
    'authentication.issuers': [
      { issuer: issuers.one, jwksUrl: at('/one'), refreshMs: 1_000, cooldownMs: 100 },
      { issuer: issuers.two, jwksUrl: at('/two'), maxLifetimeMs: 60_000 },
    ],
    'authentication.callers': [
      { issuer: issuers.one, scope: 'decide', roles: ['decide'] },
      { issuer: issuers.one, clientId: 'ops', roles: ['audit'] },
      { issuer: issuers.two, subject: 'gateway', roles: ['decide'] },
    ],
  })
})
afterAll(async () => {
  await service.service.close()
  server.closeAllConnections()
  server.close()
})

const seconds = () => Math.floor(Date.now() / 1_000)
const make = (claims: object = {}, { key = keys.one.privateKey, kid = 'k', typ = 'at+jwt' } = {}) =>
  new SignJWT({
    iss: issuers.one,
    sub: 'gateway',
    client_id: 'shop',
    scope: 'profile decide',
    aud: 'pdp',
    jti: 'j',
    iat: seconds(),
    exp: seconds() + 60,
    ...claims,
  })
    .setProtectedHeader({ alg: 'ES256', kid, typ })
    .sign(key)
const ask = async (token: string) => service.decide(question, { authorization: `Bearer ${token}` })

test('the policy and the record see issuer, client and scopes; the ID tells issuers apart', async () => {
  const caller = {
    authenticated: true,
    id: `${issuers.one}|gateway`,
    issuer: issuers.one,
    client_id: 'shop',
    scopes: ['profile', 'decide'],
  }
  expect((await ask(await make())).json.context.caller).toEqual({ ...caller, address: '127.0.0.1' })
  const other = await make({ iss: issuers.two }, { key: keys.two.privateKey })
  expect((await ask(other)).json.context.caller.id).toBe(`${issuers.two}|gateway`)
  const headers = { authorization: `Bearer ${await make()}` }
  const { code, message } = await call(grpcClient(service.grpcAddress, 'verdict.v1.DecisionService'), 'Decide', question, headers)
  expect([code, JSON.parse(message.decision.context_json).caller.client_id]).toEqual([status.OK, 'shop'])
})

test.each<[string, () => Promise<string>, number]>([
  ['no scope that gives the role', () => make({ scope: 'profile' }), 403],
  ['a scope that only begins like it', () => make({ scope: 'decider' }), 403],
  ['another subject than the one that has the role', () => make({ iss: issuers.two, sub: 'x' }, { key: keys.two.privateKey }), 403],
  ['the other issuer by the key of this one', () => make({ iss: issuers.two }), 401],
  ['this issuer by the key of the other one', () => make({}, { key: keys.two.privateKey }), 401],
  ['an issuer with a slash more', () => make({ iss: `${issuers.one}/` }), 401],
  ['an issuer with a slash less', () => make({ iss: issuers.two.slice(0, -1) }, { key: keys.two.privateKey }), 401],
  ['an issuer in capitals', () => make({ iss: issuers.one.toUpperCase() }), 401],
  ['a list of issuers', () => make({ iss: [issuers.one] }), 401],
  ['no client', () => make({ client_id: undefined }), 401],
  ['no ID of its own', () => make({ jti: undefined }), 401],
  ['a number as a subject', () => make({ sub: 7 }), 401],
  ['a list of scopes', () => make({ scope: ['decide'] }), 401],
  ['an ID token', () => make({}, { typ: 'JWT' }), 401],
  ['a life longer than the issuer may give', () => make({ iss: issuers.two, exp: seconds() + 61 }, { key: keys.two.privateKey }), 401],
  ['another audience', () => make({ aud: 'other' }), 401],
])('%s: %s', async (_what, token, expected) => expect((await ask(await token())).status).toBe(expected))

test('a client’s roles are those of its scope', async () => {
  const acts = async (token: string) => (await fetch(`${service.url}/v1/acts`, { headers: { authorization: `Bearer ${token}` } })).status
  expect([await acts(await make({ client_id: 'ops' })), await acts(await make())]).toEqual([200, 403])
})

test('keys that change under load: no valid token is refused, a withdrawn key ends within the bound', async () => {
  let current = { kid: 'k', ...keys.one }
  let refusals = 0
  let isRunning = true
  const asking = Array.from({ length: 4 }, async () => {
    while (isRunning) {
      const { privateKey, kid } = current
      if ((await ask(await make({}, { key: privateKey, kid }))).status !== 200) refusals++
    }
  })
  const first = current
  for (let i = 0; i < 6; i++) {
    const next = { kid: `k${i}`, ...pair() }
    // The one before stays for a moment, as issuers do.
    served['/one'] = [next, current].map(({ kid, publicKey }) => ({ kid, key: publicKey }))
    current = next
    await sleep(300)
  }
  isRunning = false
  await Promise.all(asking)
  expect(refusals).toBe(0)
  await sleep(1_300)
  expect((await ask(await make({}, { key: first.privateKey, kid: first.kid }))).status).toBe(401)
  expect((await ask(await make({}, { key: current.privateKey, kid: current.kid }))).status).toBe(200)
})

test('records have the caller by the schema', async () => {
  await sleep(200)
  const record = readRecords(`${service.state}/decisions`).find(({ caller }) => (caller as { issuer?: string }).issuer === issuers.one)
  expect(recordSchema.strict().safeParse(record).error).toBeUndefined()
  expect(record?.caller).toEqual({
    authenticated: true,
    id: `${issuers.one}|gateway`,
    issuer: issuers.one,
    client_id: 'shop',
    scopes: ['profile', 'decide'],
    address: '127.0.0.1',
  })
})
