// Evaluations without end, one after another, beside normal traffic, in a whole service: each must end as a recorded
// error with its code, the others must stay right, and memory must stay where it is.
//   runaway.ts [COUNT] [MAX-STEPS]   default 10,000 and the service's own budget (some 20 minutes)

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { listSegments } from '../../src/audit/log-files.ts'
import { loadConfig } from '../../src/config.ts'
import { startService } from '../../src/service.ts'

const [count = 10_000, maxSteps] = process.argv.slice(2).map(Number)
const folder = mkdtempSync(join(tmpdir(), 'verdict-runaway-'))
const policy = join(folder, 'policy')
const state = join(folder, 'state')
mkdirSync(policy)
writeFileSync(
  join(policy, 'p.rego'),
  `package p

# METADATA
# entrypoint: true
endless if {
	some i, j, k
	input.context.a[i] + input.context.b[j] == input.context.c[k] + 0.5
}

# METADATA
# entrypoint: true
quick if input.subject.id == "alice"
`,
)
const overrides = { 'server.port': 0, state, bundles: [{ path: policy }], ...(maxSteps && { 'evaluation.maxSteps': maxSteps }) }
const service = await startService(loadConfig({ env: {}, overrides }), pino({ level: 'error' }))
const ask = async (body: object) => {
  const response = await fetch(`${service.url}/v1/decide`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ action: { name: 'read' }, resource: { type: 'doc', id: '1' }, ...body }),
  })
  return (await response.json()) as { decision: boolean; context: { error?: { code: string } } }
}
const quick = async (i: number) =>
  (await ask({ subject: { type: 'user', id: i % 2 ? 'alice' : 'bob' }, policy: 'main:p/quick' })).decision === (i % 2 === 1)
const numbers = Array.from({ length: 2_000 }, (_, i) => i)
const context = { a: numbers, b: numbers, c: numbers }

let running = true
let others = 0
let wrong = 0
const traffic = (async () => {
  while (running) if (!(await quick(others++))) wrong++
})()
let rssAfterTenth = 0
let slowest = 0
for (let i = 0; i < count; i++) {
  const began = process.cpuUsage()
  const { decision, context: answered } = await ask({ subject: { type: 'user', id: 'x' }, context, policy: 'main:p/endless' })
  const { user, system } = process.cpuUsage(began)
  if (i > 10) slowest = Math.max(slowest, (user + system) / 1_000)
  if (decision !== false || answered.error?.code !== 'ERR_STEPS_EXHAUSTED')
    throw new Error(`answer ${i}: ${JSON.stringify({ decision, answered })}`)
  if (i === Math.floor(count / 10)) rssAfterTenth = process.memoryUsage.rss()
}
running = false
await traffic
const rss = process.memoryUsage.rss()
await service.close()
const mib = (bytes: number) => `${(bytes / 2 ** 20).toFixed(0)} MiB`
console.log(
  `${count} evaluations without end, ${others} others, ${wrong} of them wrong; at most ${slowest.toFixed(0)} ms of CPU for one, ` +
    `client and other traffic included; resident memory ${mib(rssAfterTenth)} after a tenth, ${mib(rss)} at the end; ` +
    `${listSegments(join(state, 'decisions')).length} files of records`,
)
rmSync(folder, { recursive: true })
process.exitCode = wrong > 0 || rss > rssAfterTenth + 64 * 2 ** 20 ? 1 : 0
