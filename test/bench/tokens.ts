// What tokens cost: processor time of the service for a request of a caller with each kind of them.
//   npm run bench:tokens            measures and rewrites its part of docs/benchmarks.md
//   npm run bench:tokens -- --quick one short round, prints only
// Needs Linux and taskset. The service runs on core 0, the load with the issuer on core 1; the load makes its proofs ahead, and is
// slower than the service all the same, so it is the service's processor time that tells.
import { generateKeyPairSync } from 'node:crypto'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { Agent, createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { SignJWT } from 'jose'
import { proofKey, proofOf } from '../support/dpop.ts'
import { abacQuestion } from './abac.ts'
import { type Measured, processorTime } from './processor-time.ts'
import { median, startVerdict, writeReport } from './servers.ts'

const quick = process.argv.includes('--quick')
const rounds = quick ? 1 : 5
const seconds = quick ? 1 : 4
const connections = 16

const folder = mkdtempSync(join(tmpdir(), 'verdict-tokens-'))
const issuers = { jwt: 'https://jwt.example', rsa: 'https://rsa.example', opaque: 'https://opaque.example' }
const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const rsa = generateKeyPairSync('rsa', { modulusLength: 2_048 })
const seconds1970 = () => Math.floor(Date.now() / 1_000)
const claims = (more: object = {}) => ({
  sub: 'gateway',
  client_id: 'shop',
  scope: 'decide',
  aud: 'pdp',
  jti: 'j',
  iat: seconds1970(),
  exp: seconds1970() + 3_000,
  ...more,
})
const idp = createServer((_, response) => {
  response.setHeader('content-type', 'application/json').end(JSON.stringify({ active: true, ...claims() }))
}).listen(0, '127.0.0.1')
await new Promise((resolve) => idp.once('listening', resolve))
const url = `http://127.0.0.1:${(idp.address() as AddressInfo).port}/introspect`

const jwks = (key: typeof ec | typeof rsa) =>
  JSON.stringify({ keys: [{ ...key.publicKey.export({ format: 'jwk' }), kid: 'k', use: 'sig' }] })
writeFileSync(join(folder, 'ec.json'), jwks(ec))
writeFileSync(join(folder, 'rsa.json'), jwks(rsa))
writeFileSync(join(folder, 'key.pem'), ec.privateKey.export({ type: 'pkcs8', format: 'pem' }))
writeFileSync(join(folder, 'fixed'), 'a-token-of-a-file-0123456789')
const introspection = (cacheMs: number) => ({
  issuer: issuers.opaque,
  introspection: { url, clientId: 'pdp', keyFile: join(folder, 'key.pem'), cacheMs },
})
const start = async (cacheMs: number, name: string) => {
  const file = join(folder, name)
  const authentication = {
    audiences: ['pdp'],
    issuers: [
      { issuer: issuers.jwt, jwksFile: join(folder, 'ec.json') },
      { issuer: issuers.rsa, jwksFile: join(folder, 'rsa.json') },
      introspection(cacheMs),
    ],
    dpop: { enabled: true, nonces: false, maxAgeMs: 600_000 },
    callers: [
      { id: 'fixed', tokenFile: join(folder, 'fixed'), roles: ['decide'] },
      ...Object.values(issuers).map((issuer) => ({ issuer, roles: ['decide'] })),
    ],
  }
  writeFileSync(file, JSON.stringify({ authentication }))
  return startVerdict(['--config', file])
}
const service = await start(300_000, 'cached.yaml')
const uncached = await start(0, 'uncached.yaml')

const key = await proofKey()
const make = (iss: string, by: typeof ec | typeof rsa, alg: string, more: object = {}) =>
  new SignJWT({ iss, ...claims(more) }).setProtectedHeader({ alg, kid: 'k', typ: 'at+jwt' }).sign(by.privateKey)
const es256 = await make(issuers.jwt, ec, 'ES256')
const rs256 = await make(issuers.rsa, rsa, 'RS256')
const bound = await make(issuers.jwt, ec, 'ES256', { cnf: { jkt: key.thumbprint } })
const target = { method: 'POST', url: `http://127.0.0.1:${service.http}/v1/decide`, token: bound }
const agent = new Agent({ keepAlive: true, maxSockets: connections })
const bodies = Array.from({ length: 64 }, (_, i) => JSON.stringify(abacQuestion(i)))

function send(port: number, credentials: Readonly<Record<string, string>>, i: number): Promise<void> {
  const body = bodies[i % bodies.length] as string
  const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body), ...credentials }
  return new Promise((resolve, reject) => {
    const sent = request({ host: '127.0.0.1', port, path: '/v1/decide', method: 'POST', headers, agent }, (response) => {
      if (response.statusCode !== 200) reject(new Error(`status ${response.statusCode}`))
      response.resume().on('end', resolve).on('error', reject)
    })
    sent.on('error', reject).end(body)
  })
}
const bearer = (token: string) => ({ authorization: `Bearer ${token}` })
const ways = {
  'a fixed token': { of: service, show: () => bearer('a-token-of-a-file-0123456789') },
  'a JSON Web Token, ES256': { of: service, show: () => bearer(es256) },
  'a JSON Web Token, RS256': { of: service, show: () => bearer(rs256) },
  'one that is bound, with a proof (DPoP), both ES256': {
    of: service,
    show: () => ({ authorization: `DPoP ${bound}`, dpop: proofOf(key, target) }),
  },
  'one that only its issuer can read, answer remembered': { of: service, show: () => bearer('opaque-token-0123456789') },
  'one that only its issuer can read, asked about each time': { of: uncached, show: (i: number) => bearer(`opaque-token-${i}`) },
}
type Way = keyof typeof ways
const names = Object.keys(ways) as Way[]
const measured = new Map<Way, Measured[]>(names.map((name) => [name, []]))
for (let round = 0; round <= rounds; round++) {
  for (const name of names) {
    const { of, show } = ways[name]
    const found = await processorTime(of.pid, (i) => send(of.http, show(i), i), { connections, seconds })
    // The first round warms up.
    if (round > 0) measured.get(name)?.push(found)
  }
}
const cpu = (name: Way) => Math.round(median((measured.get(name) as Measured[]).map(({ cpuUs }) => cpuUs)))
const report = `| the caller brings | processor time of the service for a request |
|---|---|
${names.map((name) => `| ${name} | ${cpu(name)} µs |`).join('\n')}

Clear text, kept connections, the decision and its record included. Median of ${rounds} rounds of ${seconds} s.
Machine: ${cpus()[0]?.model.replace(/ Processor.*/, '')}, Node.js ${process.versions.node}; service on core 0, Node's client and the issuer on core 1.`
process.stdout.write(`${report}\n`)
if (!quick) writeReport('bench:tokens', report)
process.exit(0)
