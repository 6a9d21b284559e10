// A soak: keys.ts SECONDS. Each second an issuer takes a new key into its set and the one before the last out of it, while callers and
// subjects bring tokens over HTTP and gRPC, always by the newest key. No valid token is refused; one by a withdrawn key is answered
// no later than the stated bound, which is the time between two fetches.
import { spawn } from 'node:child_process'
import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { Agent, createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { credentials, loadPackageDefinition, Metadata } from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'
import { SignJWT } from 'jose'
import { freePort } from '../support/ports.ts'

const seconds = Number(process.argv[2] ?? 60)
const issuer = 'https://idp.example'
/** Of the configuration below; a fetch has to come to an end, too. Milliseconds. */
const [refreshMs, boundMs] = [1_000, 1_250]
const folder = mkdtempSync(join(tmpdir(), 'verdict-keys-'))
const [port, grpcPort] = [await freePort(), await freePort()]

interface Key {
  readonly kid: string
  readonly privateKey: KeyObject
  readonly jwk: object
}
let serial = 0
function nextKey(): Key {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const kid = `k${serial++}`
  return { kid, privateKey, jwk: { ...publicKey.export({ format: 'jwk' }), kid, use: 'sig' } }
}
let published: Key[] = [nextKey()]
let fetches = 0
const server = createServer((_, response) => {
  fetches++
  response.end(JSON.stringify({ keys: published.map(({ jwk }) => jwk) }))
}).listen(0, '127.0.0.1')
await new Promise((resolve) => server.once('listening', resolve))
const jwksUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks`

mkdirSync(join(folder, 'policy'))
writeFileSync(
  join(folder, 'policy', 'p.rego'),
  'package p\n\n# METADATA\n# entrypoint: true\nallow if input.trusted.token.sub == "alice"\n',
)
const rules = [{ issuer, jwksUrl, refreshMs, cooldownMs: 100 }]
writeFileSync(
  join(folder, 'verdict.yaml'),
  JSON.stringify({
    state: join(folder, 'state'),
    server: { port, grpcPort },
    bundles: [{ name: 'main', path: join(folder, 'policy') }],
    authentication: {
      audiences: ['pdp'],
      issuers: rules,
      subjects: { audiences: ['shop'], issuers: rules },
      callers: [{ issuer, roles: ['decide'] }],
    },
  }),
)
const main = new URL('../../src/main.ts', import.meta.url).pathname
const service = spawn(
  process.execPath,
  ['--disable-warning=ExperimentalWarning', main, 'serve', '--config', join(folder, 'verdict.yaml')],
  {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...process.env, VERDICT_LOG_LEVEL: 'fatal' },
  },
)
const ended = new Promise((resolve) => service.once('exit', resolve))

const make = ({ kid, privateKey }: Key, aud: string, sub: string) => {
  const iat = Math.floor(Date.now() / 1_000)
  return new SignJWT({ iss: issuer, sub, client_id: 'c', aud, jti: 'j', iat, exp: iat + 60 })
    .setProtectedHeader({ alg: 'ES256', kid, typ: 'at+jwt' })
    .sign(privateKey)
}
const question = { subject: { type: 'user', id: 'alice' }, action: { name: 'read' }, resource: { type: 'doc', id: '1' } }
const agent = new Agent({ keepAlive: true, maxSockets: 16 })

type Answer = 'allow' | 'deny' | 'refused'
async function askHttp(caller: Key, subject: Key): Promise<Answer> {
  const [own, token] = await Promise.all([make(caller, 'pdp', 'pep'), make(subject, 'shop', 'alice')])
  const headers = { 'content-type': 'application/json', authorization: `Bearer ${own}` }
  return new Promise((resolve, reject) => {
    const sent = request({ host: '127.0.0.1', port, path: '/v1/decide', method: 'POST', headers, agent }, (response) => {
      let text = ''
      response
        .setEncoding('utf8')
        .on('data', (part) => (text += part))
        .on('end', () => resolve(response.statusCode !== 200 ? 'refused' : JSON.parse(text).decision ? 'allow' : 'deny'))
    })
    sent.on('error', reject).end(JSON.stringify({ ...question, token }))
  })
}
const definitions = loadSync('verdict/v1/decision.proto', { includeDirs: [join(import.meta.dirname, '../../schemas')], keepCase: true })
// biome-ignore lint/suspicious/noExplicitAny: what the library loads
const client = new (loadPackageDefinition(definitions) as any).verdict.v1.DecisionService(
  `127.0.0.1:${grpcPort}`,
  credentials.createInsecure(),
)
async function askGrpc(caller: Key, subject: Key): Promise<Answer> {
  const [own, token] = await Promise.all([make(caller, 'pdp', 'pep'), make(subject, 'shop', 'alice')])
  const metadata = new Metadata()
  metadata.set('authorization', `Bearer ${own}`)
  return new Promise((resolve) =>
    client.Decide({ ...question, token }, metadata, (error: Error | null, answer: { decision: { decision: boolean } }) =>
      resolve(error !== null ? 'refused' : answer.decision.decision ? 'allow' : 'deny'),
    ),
  )
}

const newest = () => published[0] as Key
for (let left = 300; (await askHttp(newest(), newest()).catch(() => 'refused')) !== 'allow'; left--) {
  if (left === 0) throw new Error('the service did not get ready')
  await sleep(100)
}

const counts = { http: 0, grpc: 0, failed: 0, withdrawn: 0, late: 0, lastMs: 0 }
let isRunning = true
async function load(kind: 'http' | 'grpc', ask: typeof askHttp): Promise<void> {
  while (isRunning) {
    const answer = await ask(newest(), newest()).catch((error: Error) => error.message)
    if (answer === 'allow') counts[kind]++
    else {
      counts.failed++
      process.stderr.write(`${kind}: ${answer}\n`)
    }
  }
}
const loads = [...Array.from({ length: 4 }, () => load('http', askHttp)), ...Array.from({ length: 4 }, () => load('grpc', askGrpc))]

/** Tokens by a key that has gone, of a caller and of a subject in turns. */
async function watch(gone: Key): Promise<void> {
  const withdrawnAt = performance.now()
  counts.withdrawn++
  while (performance.now() - withdrawnAt < 2 * boundMs) {
    const began = performance.now() - withdrawnAt
    const answers = await Promise.all([askHttp(gone, newest()), askHttp(newest(), gone), askGrpc(gone, newest())])
    if (answers.includes('allow')) {
      counts.lastMs = Math.max(counts.lastMs, began)
      if (began > boundMs) counts.late++
    }
    await sleep(20)
  }
}

const withdrawals: Promise<void>[] = []
for (let second = 0; second < seconds; second++) {
  await sleep(1_000)
  const gone = published.slice(1)
  published = [nextKey(), newest()]
  for (const one of gone) withdrawals.push(watch(one))
}
await Promise.all(withdrawals)
isRunning = false
await Promise.all(loads)
client.close()
agent.destroy()
server.closeAllConnections()
server.close()
service.kill('SIGTERM')
await ended
rmSync(folder, { recursive: true, force: true })

const whole = counts.failed === 0 && counts.late === 0 && counts.http > seconds && counts.grpc > seconds && counts.withdrawn >= seconds - 1
process.stdout.write(
  `${seconds} rotations, ${fetches} fetches: ${counts.http} answers over HTTP, ${counts.grpc} over gRPC, each with two tokens, ${counts.failed} failed; ${counts.withdrawn} keys withdrawn, the last answer ${Math.round(counts.lastMs)} ms behind, ${counts.late} later than ${boundMs} ms\n`,
)
process.exit(whole ? 0 : 1)
