// A soak: kills.ts TIMES [GUARANTEE]. The service is killed at some moment under full load, again and again over one state folder; with the
// guarantee `strict` every answer that a client received has its record, and the log is always one that goes on and verifies.
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { eachLine, listSegments } from '../../src/audit/log-files.ts'
import { parseVerifier } from '../../src/audit/tree/note.ts'
import { verifyLog } from '../../src/audit/verify-log.ts'

const times = Number(process.argv[2] ?? 100)
const guarantee = process.argv[3] ?? 'strict'
const connections = 32
const folder = mkdtempSync(join(tmpdir(), 'verdict-kills-'))
const policy = join(folder, 'policy')
const log = join(folder, 'state', 'decisions')
mkdirSync(policy)
writeFileSync(join(policy, 'p.rego'), 'package p\n\n# METADATA\n# entrypoint: true\nallow if input.subject.id == "alice"\n')
const question = JSON.stringify({ subject: { type: 'user', id: 'alice' }, action: { name: 'read' }, resource: { type: 'doc', id: '1' } })

async function start(): Promise<{ child: ChildProcess; port: number }> {
  const main = new URL('../../src/main.ts', import.meta.url).pathname
  const args = ['--disable-warning=ExperimentalWarning', main, 'serve', '--bundle', policy, '--port', '0', '--grpc-port', '0']
  const env = { ...process.env, VERDICT_DECISION_LOG_GUARANTEE: guarantee, VERDICT_DECISION_LOG_MAX_FILE_BYTES: '3000000' }
  const child = spawn(process.execPath, [...args, '--state', join(folder, 'state')], { env, stdio: ['ignore', 'pipe', 'pipe'] })
  let said = ''
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (data) => (said += data))
  for (let left = 600; left > 0; left--) {
    const port = /answers at http:\/\/[^:]+:(\d+)/.exec(said)?.[1]
    if (port !== undefined) return { child, port: Number(port) }
    if (child.exitCode !== null) throw new Error(`it did not start: ${said}`)
    await sleep(20)
  }
  throw new Error(`it did not start: ${said}`)
}

/** Asks until the service is gone. */
async function askOn(agent: Agent, port: number, given: string[]): Promise<void> {
  for (;;) {
    const id = await new Promise<string | undefined>((resolve) => {
      const sent = request({
        agent,
        port,
        host: '127.0.0.1',
        path: '/v1/decide',
        method: 'POST',
        headers: { 'content-type': 'application/json' },
      })
      sent.on('error', () => resolve(undefined))
      sent.on('response', (response) => {
        let text = ''
        response.on('data', (data) => (text += data))
        response.on('error', () => resolve(undefined))
        response.on('end', () => resolve(response.statusCode === 200 ? (JSON.parse(text) as { id: string }).id : undefined))
      })
      sent.end(question)
    })
    if (id === undefined) return
    given.push(id)
  }
}

const given: string[] = []
for (let round = 1; round <= times; round++) {
  const { child, port } = await start()
  const agent = new Agent({ keepAlive: true, maxSockets: connections })
  const clients = Array.from({ length: connections }, () => askOn(agent, port, given))
  await sleep(100 + Math.random() * 500)
  child.kill('SIGKILL')
  await Promise.all(clients)
  agent.destroy()
  if (round % 10 === 0) process.stdout.write(`${round} kills, ${given.length.toLocaleString('en')} answers\n`)
}
const { child } = await start()
child.kill('SIGTERM')
await new Promise((resolve) => child.once('exit', resolve))

const recorded = new Set<string>()
let recovered = 0
for (const file of listSegments(log)) {
  eachLine(join(log, file), (bytes, from, to) => {
    const { id, kind } = JSON.parse(bytes.toString('utf8', from, to)) as { id?: string; kind?: string }
    if (kind === 'recovered') recovered++
    if (id !== undefined) recorded.add(id)
  })
}
const missing = given.filter((id) => !recorded.has(id)).length
const keys = readFileSync(join(log, 'tree/log.vkey'), 'utf8').trim().split('\n').map(parseVerifier)
const { faults, entries, unsigned } = verifyLog({ folder: log, keys })
rmSync(folder, { recursive: true })
process.stdout.write(
  `${times} kills: ${given.length.toLocaleString('en')} answers, ${missing} without a record, ${entries.toLocaleString('en')} entries, ${recovered} torn lines cut, ${faults.length} faults\n`,
)
if (given.length < times * 50) throw new Error('hardly any load')
if ((guarantee === 'strict' && missing > 0) || faults.length > 0 || unsigned > 0)
  throw new Error(`not as it should be: ${JSON.stringify(faults)}`)
