// The clock on the wall is put an hour forward and back, or drifts (faults, line 10): tokens are held against it with a bounded skew,
// what is remembered for a while does not depend on it, and records say that it happened.
import { generateKeyPairSync } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, expect, jest, test } from '@jest/globals'
import { SignJWT } from 'jose'
import { watchClock } from '../src/audit/clock-steps.ts'
import { recordSchema } from '../src/audit/record-schema.ts'
import { admin } from './support/bundles.ts'
import { proofKey, proofOf } from './support/dpop.ts'
import { question, startTestService, type TestService } from './support/service.ts'
import { tempFolder } from './support/temp-folder.ts'

const policy = { 'p.rego': 'package p\n\n# METADATA\n# entrypoint: true\nallow if input.trusted.time > 0\n' }
const hour = 3_600_000
const issuer = 'https://idp.example'
const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const wall = Date.now
const putClock = (ms: number) => jest.spyOn(Date, 'now').mockImplementation(() => wall() + ms)
afterEach(() => void jest.restoreAllMocks())

const token = (atMs: number, livesS: number, more: object = {}) => {
  const iat = Math.floor(atMs / 1_000)
  return new SignJWT({ iss: issuer, sub: 's', client_id: 'c', aud: 'pdp', jti: 'j', iat, exp: iat + livesS, ...more })
    .setProtectedHeader({ alg: 'ES256', kid: 'k', typ: 'at+jwt' })
    .sign(pair.privateKey)
}
const files = tempFolder({
  'jwks.json': JSON.stringify({ keys: [{ ...pair.publicKey.export({ format: 'jwk' }), kid: 'k', use: 'sig' }] }),
  'key.pem': pair.privateKey.export({ type: 'pkcs8', format: 'pem' }) as string,
})
const start = (issuers: object[], more: object = {}) =>
  startTestService(policy, {
    'authentication.audiences': ['pdp'],
    'authentication.issuers': issuers,
    'authentication.callers': issuers.map((one) => ({ issuer: (one as { issuer: string }).issuer, roles: ['decide'] })),
    ...more,
  })
const ask = async (service: TestService, shown: string, more: Record<string, string> = {}) =>
  (await service.decide(question, { authorization: `Bearer ${shown}`, ...more })).status

test('a token that lives for minutes is over an hour ahead, not valid an hour back, and good again when the clock is', async () => {
  const service = await start([{ issuer, jwksFile: `${files}/jwks.json` }])
  const shown = await token(wall(), 300)
  expect(await ask(service, shown)).toBe(200)
  putClock(hour)
  expect(await ask(service, shown)).toBe(401)
  putClock(-hour)
  expect(await ask(service, shown)).toBe(401)
  // As much as clocks may be apart, and a second more.
  putClock(-29_000)
  expect(await ask(service, shown)).toBe(200)
  putClock(-31_500)
  expect(await ask(service, shown)).toBe(401)
  putClock(0)
  expect(await ask(service, shown)).toBe(200)
  await service.stop()
})

test('what an issuer answered is believed for as long as it was said, whatever the clock does', async () => {
  let asked = 0
  const idp = createServer((_, response) => {
    asked++
    const iat = Math.floor(wall() / 1_000)
    const answer = { active: true, sub: 's', aud: 'pdp', iat: iat - 1_800, exp: iat + 1_800 }
    response.setHeader('content-type', 'application/json').end(JSON.stringify(answer))
  }).listen(0, '127.0.0.1')
  await new Promise((resolve) => idp.once('listening', resolve))
  const url = `http://127.0.0.1:${(idp.address() as AddressInfo).port}/`
  const service = await start([{ issuer, introspection: { url, clientId: 'c', keyFile: `${files}/key.pem`, cacheMs: 3_000 } }])
  const seen: number[] = []
  for (const step of [0, 1_200_000, -1_200_000]) {
    putClock(step)
    seen.push(await ask(service, 'opaque'))
  }
  expect([seen, asked]).toEqual([[200, 200, 200], 1])
  await sleep(3_050)
  expect([await ask(service, 'opaque'), asked]).toEqual([200, 2])
  await service.stop()
  idp.close()
})

test('a proof stays seen while the clock goes forward and back again', async () => {
  const key = await proofKey()
  const service = await start([{ issuer, jwksFile: `${files}/jwks.json` }], { 'authentication.dpop': { enabled: true, nonces: false } })
  const shown = await token(wall(), 300, { cnf: { jkt: key.thumbprint } })
  const target = { method: 'POST', url: `${service.url}/v1/decide`, token: shown }
  const show = (dpop: string) => ask(service, shown, { authorization: `DPoP ${shown}`, dpop })
  const proof = proofOf(key, target)
  expect(await show(proof)).toBe(200)
  putClock(hour)
  await sleep(1_100)
  const later = await token(wall() + hour, 300, { cnf: { jkt: key.thumbprint } })
  const then = { iat: Math.floor((wall() + hour) / 1_000) }
  const ahead = proofOf(key, { ...target, token: later }, then)
  expect(await ask(service, later, { authorization: `DPoP ${later}`, dpop: ahead })).toBe(200)
  putClock(0)
  expect(await show(proof)).toBe(401)
  await service.stop()
})

test('a revocation that ends by itself holds again when the clock is put back', async () => {
  const service = await startTestService(policy)
  const said = async () => (await service.decide(question)).json.context.error?.code
  await admin(service, 'POST', '/v1/revocations', { kind: 'subject', value: question.subject.id, expires_in_s: 600 })
  expect(await said()).toBe('ERR_REVOKED')
  putClock(hour)
  expect(await said()).toBeUndefined()
  putClock(0)
  expect(await said()).toBe('ERR_REVOKED')
  await service.stop()
})

test('records say by how much the clock was put, and nothing of what it drifts', async () => {
  const service = await startTestService(policy)
  for (const step of [0, 40, hour, hour, -hour, 0]) {
    putClock(step)
    await service.decide(question)
  }
  const records = await service.stop()
  for (const record of records) expect(recordSchema.strict().safeParse(record).error).toBeUndefined()
  const steps = records.map(({ clock_step_ms: step }) => (step === undefined ? 0 : Math.round((step as number) / 10_000) * 10_000))
  expect(steps).toEqual([0, 0, hour, 0, -2 * hour, hour])
})

test('a slow drift is no step', () => {
  const clock = { now: 0, elapsed: 0 }
  const step = watchClock(
    () => clock.now,
    () => clock.elapsed,
  )
  for (let i = 0; i < 100; i++) {
    clock.now += 1_010
    clock.elapsed += 1_000
    expect(step()).toBeUndefined()
  }
  clock.now -= 1_000
  expect(step()).toBe(-1_000)
})
