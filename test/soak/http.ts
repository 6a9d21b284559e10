// A soak: http.ts MINUTES. A whole service under load from this process, its policy swapped every few seconds; every
// answer is checked against the revision that it names, and memory must be flat after a warm-up.

import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { pino } from 'pino'
import { listSegments } from '../../src/audit/log-files.ts'
import { loadConfig } from '../../src/config.ts'
import { startService } from '../../src/service.ts'

const minutes = Number(process.argv[2] ?? 1)
const swapEveryMs = 5_000
const maxGrowth = 1.15
const folder = mkdtempSync(join(tmpdir(), 'verdict-soak-'))
const policy = join(folder, 'policy')
const state = join(folder, 'state')
mkdirSync(policy)
writeRevision(0)
const config = loadConfig({
  env: {},
  overrides: { state, watch: true, bundles: [{ path: policy }], 'server.port': 0, 'decisionLog.maxFileBytes': 16 * 2 ** 20 },
})
const service = await startService(config, pino({ level: 'error' }))

let wrong = 0
let answers = 0
let stopped = false
const agent = new Agent({ keepAlive: true, maxSockets: 16 })
const clients = Array.from({ length: 16 }, async (_, n) => {
  while (!stopped) await ask(n)
})
const samples: number[] = []
const end = Date.now() + minutes * 60_000
for (let revision = 1; Date.now() < end; revision++) {
  await sleep(swapEveryMs)
  writeRevision(revision)
  // Records are not what this looks at; the disk of a small machine is not endless.
  for (const name of listSegments(join(state, 'decisions')).slice(0, -2)) rmSync(join(state, 'decisions', name))
  samples.push(process.memoryUsage().rss)
}
stopped = true
await Promise.all(clients)
agent.destroy()
await service.close()
const size = listSegments(join(state, 'decisions')).reduce((sum, name) => sum + statSync(join(state, 'decisions', name)).size, 0)
rmSync(folder, { recursive: true, force: true })

const warm = samples.slice(Math.floor(samples.length / 3))
const [first, last] = [mean(warm.slice(0, Math.ceil(warm.length / 4))), mean(warm.slice(-Math.ceil(warm.length / 4)))]
const growth = last / first
process.stdout.write(
  `${answers} answers over ${samples.length} revisions, ${wrong} wrong; resident memory ${Math.round(first / 2 ** 20)} MiB to ${Math.round(last / 2 ** 20)} MiB; ${size} bytes of records at the end\n`,
)
process.exit(wrong > 0 || answers === 0 || growth > maxGrowth ? 1 : 0)

function writeRevision(revision: number): void {
  writeFileSync(
    join(policy, 'p.rego'),
    `package p\n\n# METADATA\n# entrypoint: true\nd := {"allow": input.subject.id == "${revision % 2 ? 'odd' : 'even'}", "context": {"revision": ${revision}}}\n`,
  )
}

function ask(n: number): Promise<void> {
  const id = n % 2 ? 'odd' : 'even'
  const body = JSON.stringify({ subject: { type: 'user', id }, action: { name: 'read' }, resource: { type: 'doc', id: String(answers) } })
  return new Promise((done) => {
    const outgoing = request(
      `${service.url}/v1/decide`,
      { agent, method: 'POST', headers: { 'content-type': 'application/json', 'content-length': body.length } },
      (response) => {
        let text = ''
        response.on('data', (part) => {
          text += part
        })
        response.on('end', () => {
          answers++
          const { decision, context } = JSON.parse(text)
          if (decision !== ((context.revision % 2 ? 'odd' : 'even') === id)) wrong++
          done()
        })
      },
    )
    outgoing.on('error', () => {
      wrong++
      done()
    })
    outgoing.end(body)
  })
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length)
}
