// A soak: activations.ts COUNT [KILLS]. A service in a process of its own answers as fast as it can while two revisions take turns
// COUNT times: no request fails, no answer is one that neither revision gives, p99 stays within twice the quiet one. Then the
// service is killed (SIGKILL) KILLS times at random moments of pushes and activations: it comes back with one whole revision, and
// the table of acts has no gap.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { writeArchive } from '../../src/bundles/archive.ts'
import { buildBundle } from '../../src/bundles/build-bundle.ts'
import { Toolchain } from '../../src/rego/toolchain.ts'
import { freePort, untilUp } from '../support/ports.ts'

const [activations, kills] = [Number(process.argv[2] ?? 200), Number(process.argv[3] ?? 0)]
const state = mkdtempSync(join(tmpdir(), 'verdict-activations-'))
const main = new URL('../../src/main.ts', import.meta.url).pathname
const ports = { http: await freePort(), grpc: await freePort() }
const url = `http://127.0.0.1:${ports.http}`
const toolchain = new Toolchain()
const connections = 8
const body = JSON.stringify({ subject: { type: 'user', id: 'a' }, action: { name: 'read' }, resource: { type: 'doc', id: '1' } })

let service = await start()
const archives = [await archive(0), await archive(1)]
const digests: string[] = []
for (const one of archives) digests.push((await ask('PUT', '/v1/bundles/main', one)).digest)
await toolchain.close()

let [answers, failed, wrong] = [0, 0, 0]
await load(2_000, async () => {})
const quiet = await load(5_000, () => sleep(5_000))
const busy = await load(Number.POSITIVE_INFINITY, async () => {
  for (let i = 0; i < activations; i++) {
    await ask('POST', '/v1/bundles/main/activate', { digest: digests[i % 2] })
    // Each leaves an instance behind that V8 has to find; a service that changes its mind more often than this pays for it.
    await sleep(200)
  }
})
const said = `${activations} activations beside ${answers.toLocaleString('en')} answers, ${failed} failed, ${wrong} wrong; p99 ${quiet.toFixed(2)} ms quiet, ${busy.toFixed(2)} ms beside activations`
let broken = 0
for (let i = 0; i < kills; i++) if (!(await survivesKill(i))) broken++
// A few activations say nothing about p99, and a busy machine nothing at all.
const isSmooth = activations < 200 || busy <= quiet * 2
const isGood = failed === 0 && wrong === 0 && isSmooth && broken === 0
process.stdout.write(`${said}${kills > 0 ? `; killed ${kills} times, ${broken} times not whole again` : ''}\n`)
service.kill('SIGKILL')
rmSync(state, { recursive: true, force: true })
process.exit(isGood ? 0 : 1)

async function archive(revision: number): Promise<Buffer> {
  const policy = `package p\n\n# METADATA\n# entrypoint: true\nd := {"allow": true, "reasons": ["r${revision}"]}\n`
  return buildBundle(
    { modules: { 'p.rego': policy }, data: '{}', manifest: undefined, inputSchema: undefined, vectors: undefined },
    toolchain,
  )
}

async function start(): Promise<ChildProcess> {
  const args = ['serve', '--port', String(ports.http), '--grpc-port', String(ports.grpc), '--state', state]
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', main, ...args], { stdio: 'ignore' })
  await untilUp(`${url}/healthz`)
  return child
}

// biome-ignore lint/suspicious/noExplicitAny: answers of several shapes
async function ask(method: string, path: string, sent?: object | Buffer): Promise<any> {
  const isArchive = Buffer.isBuffer(sent)
  const response = await fetch(`${url}${path}`, {
    method,
    headers: {
      authorization: `Bearer ${readFileSync(join(state, 'admin.token'), 'utf8').trim()}`,
      ...(sent !== undefined && { 'content-type': isArchive ? 'application/gzip' : 'application/json' }),
    },
    ...(sent !== undefined && { body: isArchive ? new Uint8Array(sent) : JSON.stringify(sent) }),
  })
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`)
  return response.json()
}

/** Asks on all connections until the work is done. @returns p99 in milliseconds */
async function load(forMs: number, work: () => Promise<void>): Promise<number> {
  const agent = new Agent({ keepAlive: true, maxSockets: connections })
  const times: number[] = []
  const until = performance.now() + forMs
  let isDone = false
  const client = async () => {
    while (!isDone && performance.now() < until) {
      const began = performance.now()
      const text = await decide(agent).catch(() => undefined)
      times.push(performance.now() - began)
      answers++
      if (text === undefined) failed++
      else if (!isWhole(text)) wrong++
    }
  }
  const clients = Array.from({ length: connections }, client)
  await work()
  if (forMs === Number.POSITIVE_INFINITY) isDone = true
  await Promise.all(clients)
  agent.destroy()
  times.sort((a, b) => a - b)
  return times[Math.floor(times.length * 0.99)] ?? 0
}

/** What one revision says, and the name of that revision. */
function isWhole(text: string): boolean {
  const { decision, context, policy } = JSON.parse(text)
  const revision = digests.indexOf(policy?.digest)
  return decision === true && revision >= 0 && JSON.stringify(context.reasons) === `["r${revision}"]`
}

function decide(agent: Agent): Promise<string> {
  return new Promise((resolve, reject) => {
    const sent = request(`${url}/v1/decide`, {
      method: 'POST',
      agent,
      headers: { 'content-type': 'application/json', 'content-length': body.length },
    })
    sent.on('error', reject)
    sent.on('response', (response) => {
      let text = ''
      response.setEncoding('utf8')
      response.on('data', (part) => (text += part))
      response.on('end', () => (response.statusCode === 200 ? resolve(text) : reject(new Error(text))))
    })
    sent.end(body)
  })
}

/** Kills the service while it takes a new revision in or lets another answer. */
async function survivesKill(i: number): Promise<boolean> {
  const policy = `package p\n\n# METADATA\n# entrypoint: true\nd := {"allow": true, "reasons": ["r${i % 2}"]}\n\nunused := ${i}\n`
  const fresh = await writeArchive(new Map([['p.rego', policy]]))
  const work = [ask('PUT', '/v1/bundles/main', fresh), ask('POST', '/v1/bundles/main/activate', { digest: digests[i % 2] })]
  await sleep(Math.random() * 400)
  service.kill('SIGKILL')
  await Promise.all([once(service, 'exit'), ...work.map((one) => one.catch(() => {}))])
  service = await start()
  await untilUp(`${url}/readyz`)
  const { acts } = await ask('GET', '/v1/acts?limit=1000&after=0')
  const hasGap = acts.some(({ seq }: { seq: number }, at: number) => seq !== at + 1)
  const { revisions } = await ask('GET', '/v1/bundles/main')
  const active = revisions.filter((one: { active: boolean }) => one.active)
  const { policy: answered, decision } = JSON.parse(await decide(new Agent()))
  const isGood =
    (acts.length >= 1_000 || !hasGap) &&
    active.length === 1 &&
    active[0].status === 'ready' &&
    answered.digest === active[0].digest &&
    decision
  if (!isGood) process.stdout.write(`kill ${i}: ${JSON.stringify({ hasGap, active, answered, decision })}\n`)
  return isGood
}
