// A soak: rotation.ts SECONDS. Each second the service's certificate, an authority of its clients' trust domain and the revocation
// lists are replaced under load over HTTP and gRPC, on new and on standing connections; and one workload each second is taken back.
// No request of the others fails; a withdrawn workload gets no answer later than a second after its list was written.
import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { Agent, request } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Client, credentials, loadPackageDefinition } from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'
import { type Issued, TestAuthority } from '../support/certificates.ts'
import { freePort } from '../support/ports.ts'

const seconds = Number(process.argv[2] ?? 60)
const folder = mkdtempSync(join(tmpdir(), 'verdict-rotation-'))
const [port, grpcPort] = [await freePort(), await freePort()]
const id = (name: string) => `spiffe://a.example/ns/${name}`
const question = { subject: { type: 'user', id: 'a' }, action: { name: 'read' }, resource: { type: 'doc', id: '1' } }
/** Authorities that are believed at one time; clients have as long to change theirs. */
const overlap = 3
/** How long a withdrawn identity may still be answered. Milliseconds. */
const bound = 1_000

/** As a whole, as tools do that deliver certificates. */
function write(name: string, text: string): void {
  writeFileSync(join(folder, `${name}.new`), text)
  renameSync(join(folder, `${name}.new`), join(folder, name))
}

const authorities: TestAuthority[] = []
const revoked = new Map<TestAuthority, string[]>()
let serial = 0

async function nextAuthority(): Promise<TestAuthority> {
  const authority = await TestAuthority.create(`authority ${serial++}`, ['spiffe://a.example'])
  authorities.push(authority)
  revoked.set(authority, [])
  return authority
}

const current = () => authorities.slice(-overlap)

/** Lists first: an authority without one vouches for nobody. */
async function publish(): Promise<void> {
  const lists = await Promise.all(current().map((one) => one.revocationList(revoked.get(one) ?? [])))
  write('a.crl', lists.join(''))
  write(
    'a.pem',
    current()
      .map(({ cert }) => cert)
      .join('\n'),
  )
}

async function publishServer(): Promise<void> {
  const { cert, key } = await (authorities.at(-1) as TestAuthority).issue('pdp', { ips: ['127.0.0.1'] })
  write('key.pem', key)
  write('cert.pem', cert)
}

interface Peer {
  readonly agent: Agent
  readonly grpc: Client & { Decide: (message: object, options: object, done: (error: Error | null) => void) => void }
  readonly issued: Issued
  /** Requests under way. */
  pending: number
  close(): void
}

const definitions = loadSync('verdict/v1/decision.proto', { includeDirs: [join(import.meta.dirname, '../../schemas')], keepCase: true })

async function peerOf(name: string): Promise<Peer> {
  const issued = await (authorities.at(-1) as TestAuthority).issue(name, { uris: [id(name)] })
  const ca = current()
    .map(({ cert }) => cert)
    .join('\n')
  const agent = new Agent({ keepAlive: true, maxSockets: 2, ca, cert: issued.cert, key: issued.key })
  const security = credentials.createSsl(Buffer.from(ca), Buffer.from(issued.key), Buffer.from(issued.cert))
  // biome-ignore lint/suspicious/noExplicitAny: what the library loads
  const grpc = new (loadPackageDefinition(definitions) as any).verdict.v1.DecisionService(`127.0.0.1:${grpcPort}`, security)
  return {
    agent,
    grpc,
    issued,
    pending: 0,
    close() {
      agent.destroy()
      grpc.close()
    },
  }
}

/** The latest reasons, for whoever looks at a run that failed. */
const reasons: string[] = []

function failure(resolve: (isAnswered: boolean) => void): (error: Error) => void {
  return ({ message }) => {
    reasons.push(message)
    resolve(false)
  }
}

/** @param isTrusting takes any certificate of the service, so that a refusal is the service's */
function askHttp({ agent, issued }: Peer, isNew: boolean, isTrusting = false): Promise<boolean> {
  return new Promise((resolve) => {
    const { ca } = agent.options
    const options = isNew ? { agent: false as const, ca, cert: issued.cert, key: issued.key, rejectUnauthorized: !isTrusting } : { agent }
    const headers = { 'content-type': 'application/json' }
    const sent = request({ host: '127.0.0.1', port, path: '/v1/decide', method: 'POST', headers, ...options }, (response) => {
      response
        .resume()
        .on('end', () => resolve(response.statusCode === 200))
        .on('error', () => resolve(false))
    })
    sent.on('error', failure(resolve))
    sent.end(JSON.stringify(question))
  })
}

function askGrpc({ grpc }: Peer): Promise<boolean> {
  return new Promise((resolve) =>
    grpc.Decide(question, { deadline: Date.now() + 5_000 }, (error) => (error === null ? resolve(true) : failure(resolve)(error))),
  )
}

await nextAuthority()
await publish()
await publishServer()
mkdirSync(join(folder, 'policy'))
write(
  'policy/p.rego',
  'package p\n\n# METADATA\n# entrypoint: true\nallow if startswith(input.trusted.caller.spiffe_id, "spiffe://a.example/ns/")\n',
)
write(
  'verdict.yaml',
  JSON.stringify({
    state: join(folder, 'state'),
    server: { port, grpcPort, tls: { certFile: join(folder, 'cert.pem'), keyFile: join(folder, 'key.pem') } },
    bundles: [{ name: 'main', path: join(folder, 'policy') }],
    authentication: {
      trustDomains: [{ name: 'a.example', bundleFile: join(folder, 'a.pem'), crlFile: join(folder, 'a.crl') }],
      callers: [{ spiffeId: 'spiffe://a.example/**', roles: ['decide'] }],
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
let peer = await peerOf('gateway')
for (let left = 300; !(await askHttp(peer, true)); left--) {
  if (left === 0) throw new Error('the service did not get ready')
  await sleep(100)
}

const counts = { http: 0, grpc: 0, handshakes: 0, failed: 0, withdrawn: 0, late: 0 }
let isRunning = true
/** Requests of whoever is current, one after another; each counts, whatever happens meanwhile. */
async function load(ask: (peer: Peer) => Promise<boolean>, kind: 'http' | 'grpc' | 'handshakes'): Promise<void> {
  while (isRunning) {
    const asked = peer
    asked.pending++
    if (await ask(asked)) counts[kind]++
    else {
      counts.failed++
      process.stderr.write(`${kind}: ${reasons.at(-1)}\n`)
    }
    asked.pending--
  }
}
const loads = [
  ...Array.from({ length: 4 }, () => load((one) => askHttp(one, false), 'http')),
  ...Array.from({ length: 4 }, () => load(askGrpc, 'grpc')),
  load((one) => askHttp(one, true), 'handshakes'),
]

/** Answers that a workload gets later than `bound` behind its withdrawal, on connections that stand and on new ones. */
async function withdraw(victim: Peer): Promise<void> {
  const issuer = authorities.find((one) => one.issued(victim.issued)) as TestAuthority
  revoked.get(issuer)?.push(victim.issued.serial)
  await publish()
  const withdrawnAt = performance.now()
  counts.withdrawn++
  while (performance.now() - withdrawnAt < 3 * bound) {
    const began = performance.now() - withdrawnAt
    const answers = await Promise.all([askHttp(victim, false), askHttp(victim, true, true), askGrpc(victim)])
    if (began > bound) counts.late += answers.filter(Boolean).length
    await sleep(20)
  }
  victim.close()
}

const withdrawals: Promise<void>[] = []
for (let second = 0; second < seconds; second++) {
  const victim = await peerOf(`victim-${second}`)
  if (!(await askHttp(victim, false)) || !(await askGrpc(victim))) counts.failed++
  await nextAuthority()
  await publish()
  await sleep(400)
  const before = peer
  // Trusts the newest authority, whose certificate the service shows only when nobody asks without that trust any longer.
  peer = await peerOf('gateway')
  // What has begun ends on what it began with.
  const closing = setInterval(() => {
    if (before.pending > 0) return
    clearInterval(closing)
    before.close()
  }, 20)
  for (let left = 100; before.pending > 0 && left > 0; left--) await sleep(20)
  await publishServer()
  withdrawals.push(withdraw(victim))
  await sleep(600)
}
isRunning = false
await Promise.all([...loads, ...withdrawals])
peer.close()
service.kill('SIGTERM')
await ended
rmSync(folder, { recursive: true })
const { http, grpc, handshakes, failed, withdrawn, late } = counts
process.stdout.write(
  `${seconds} rotations: ${http} answers over HTTP, ${grpc} over gRPC, ${handshakes} on new connections, ${failed} failed; ${withdrawn} workloads withdrawn, ${late} answers later than ${bound} ms\n`,
)
process.exit(failed + late === 0 && http > 0 && grpc > 0 && handshakes > 0 ? 0 : 1)
