// A soak: replay.ts COUNT. Random questions to the starter policies and to policies that look at the clock, at chance and at digits; each
// recorded decision made again from the log and the archives comes out as it did, bit for bit.
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { queryLog } from '../../src/audit/query-log.ts'
import { loadConfig } from '../../src/config.ts'
import { LogReplay } from '../../src/log-replay.ts'
import { Toolchain } from '../../src/rego/toolchain.ts'
import { startService } from '../../src/service.ts'

const count = Number(process.argv[2] ?? 100_000)
const size = 500
const folder = mkdtempSync(join(tmpdir(), 'verdict-replay-'))
const policy = join(folder, 'policy')
cpSync(new URL('../../policies', import.meta.url), policy, { recursive: true })
mkdirSync(join(policy, 'odd'))
writeFileSync(
  join(policy, 'odd', 'odd.rego'),
  `package odd

# METADATA
# entrypoint: true
clock := {"allow": (time.now_ns() / 1000000) % 2 == 0, "reasons": [sprintf("%d", [time.now_ns()])]}

# METADATA
# entrypoint: true
chance := {"allow": rand.intn("a", 2) == 0, "reasons": [uuid.rfc4122("b")]}

# METADATA
# entrypoint: true
digits := {"allow": input.context.number > 1e17, "reasons": [input.context.number * 3, input.context.number / 7]}

# METADATA
# entrypoint: true
fails := {"allow": true, "reasons": [1 / input.context.zero]}
`,
)
const config = loadConfig({
  env: {},
  overrides: {
    state: join(folder, 'state'),
    'server.port': 0,
    'server.grpcPort': 0,
    'server.drainTimeoutMs': 0,
    bundles: [{ name: 'main', path: policy }],
    'cache.enabled': false,
    'evaluation.callerStepsPerSecond': 1_000_000_000,
    labels: { site: 'north' },
  },
})
const service = await startService(config, pino({ level: 'silent' }))
const pick = <T>(all: readonly T[]): T => all[Math.floor(Math.random() * all.length)] as T
const question = () => ({
  subject: {
    type: pick(['user', 'service']),
    id: pick(['alice', 'bob', 'carol', 'mallory', 'zoe']),
    properties: { clearance: pick(['public', 'secret', 1]) },
  },
  action: { name: pick(['read', 'update', 'delete', 'approve']) },
  resource: {
    type: pick(['document', 'report']),
    id: `r${Math.floor(Math.random() * 50)}`,
    properties: { sensitivity: pick(['public', 'confidential', 'secret']), owner: pick(['alice', 'bob']) },
  },
})
const entrypoints = ['authz/decision', 'odd/clock', 'odd/chance', 'odd/digits', 'odd/fails']
for (let done = 0; done < count; done += size) {
  const numbers = ['1', '1.0', '-0', '123456789012345678901234567890', '0.1', '1e18', '9007199254740993']
  const items = Array.from({ length: size }, () =>
    JSON.stringify(question()).replace(/}$/, `,"context":{"number":${pick(numbers)},"zero":${pick(['0', '2'])}}}`),
  )
  const body = `{"policy":"main:${pick(entrypoints)}","evaluations":[${items.join(',')}]}`
  const answer = await fetch(`${service.url}/v1/decide`, { method: 'POST', headers: { 'content-type': 'application/json' }, body })
  if (answer.status !== 200) throw new Error(`${answer.status} ${await answer.text()}`)
  await answer.arrayBuffer()
}
await service.close()

const toolchain = new Toolchain()
const again = new LogReplay(toolchain, join(folder, 'state', 'bundles'), 'trusted')
const counts = { same: 0, different: 0, skipped: 0 }
const why = new Set<string>()
const began = performance.now()
for (const { line, record } of queryLog(join(folder, 'state', 'decisions'), {})) {
  const outcome = await again.replay(line, record)
  counts[outcome.kind]++
  if (outcome.kind === 'skipped') why.add(outcome.why)
  else if (outcome.kind === 'different') why.add(JSON.stringify([outcome, line]).slice(0, 2_000))
}
const seconds = (performance.now() - began) / 1_000
await toolchain.close()
rmSync(folder, { recursive: true })
process.stdout.write(`${JSON.stringify(counts)} in ${seconds.toFixed(1)} s\n`)
if (counts.same !== count) throw new Error([...why].slice(0, 5).join('\n'))
process.exit(0)
