// What each guarantee of the decision log costs: requests a second in a closed loop, and how long requests take that come when they come
// (open-loop-child.ts), at several rates, beside OPA with its decision log on the console.
//   npm run bench:guarantees            measures and rewrites its part of docs/benchmarks.md
//   npm run bench:guarantees -- --quick one short round, prints only; for CI
// Needs Linux, wrk, taskset and the program opa (OPA_PROGRAM or on the PATH). Servers run on core 0, the load on core 1.
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { abacQuestion } from './abac.ts'
import { folder, median, node, opaVersion, root, startOpa, startVerdict, writeReport } from './servers.ts'
import { luaOf, wrk } from './wrk.ts'

const quick = process.argv.includes('--quick')
const rounds = quick ? 1 : 3
const seconds = quick ? 1 : 8
const rates = quick ? [1_000] : [1_000, 4_000, 10_000, 16_000]
const connections = 32

interface Latency {
  readonly perSecond: number
  readonly p50: number
  readonly p99: number
  readonly p999: number
}

interface Server {
  readonly title: string
  readonly url: string
  readonly bodies: string
  readonly script: string
}

const bodiesOf = (name: string, make: (i: number) => object) => {
  const file = join(folder, `${name}.ndjson`)
  writeFileSync(file, Array.from({ length: 500 }, (_, i) => `${JSON.stringify(make(i))}\n`).join(''))
  return file
}
const ours = { bodies: bodiesOf('verdict', abacQuestion), script: luaOf('verdict', abacQuestion) }
const opaQuestion = (i: number) => ({ input: abacQuestion(i) })
const servers: Server[] = []
for (const guarantee of ['fast', 'durable', 'strict']) {
  const { http } = await startVerdict([], { VERDICT_DECISION_LOG_GUARANTEE: guarantee })
  servers.push({ title: `Verdict, \`${guarantee}\``, url: `http://127.0.0.1:${http}/v1/decide`, ...ours })
}
servers.push({
  title: `OPA ${opaVersion()}, decision log on the console`,
  url: `http://127.0.0.1:${await startOpa()}/v1/data/authz/decision`,
  bodies: bodiesOf('opa', opaQuestion),
  script: luaOf('opa', opaQuestion),
})

for (const server of servers) wrk(server, seconds, connections)
const most = new Map(servers.map((server) => [server, [] as number[]]))
const latencies = new Map(servers.map((server) => [server, rates.map(() => [] as Latency[])]))
for (let round = 0; round < rounds; round++) {
  for (const server of servers) most.get(server)?.push(wrk(server, seconds, connections).perSecond)
  for (const [i, rate] of rates.entries())
    for (const server of servers) {
      // What cannot be kept up grows without a bound, and says nothing.
      if (rate < 0.8 * median(most.get(server) as number[])) latencies.get(server)?.[i]?.push(openLoop(server, rate))
    }
}
const report = table()
process.stdout.write(`${report}\n`)
if (!quick) writeReport('bench:guarantees', report)
process.exit(0)

function openLoop({ url, bodies }: Server, rate: number): Latency {
  const args = [...node, `${root}test/bench/open-loop-child.ts`, url, bodies, String(rate), String(seconds)]
  return JSON.parse(execFileSync('taskset', ['-c', '1', ...args], { encoding: 'utf8' }))
}

function table(): string {
  const cellOf = (all: readonly Latency[]) => {
    if (all.length === 0) return '–'
    const of = (key: keyof Latency) => median(all.map((one) => one[key])).toFixed(1)
    return `${of('p50')} / ${of('p99')} / ${of('p999')}`
  }
  const rows = servers.map((server) => {
    const perSecond = Math.round(median(most.get(server) as number[])).toLocaleString('en')
    return `| ${server.title} | ${perSecond} | ${(latencies.get(server) ?? []).map(cellOf).join(' | ')} |`
  })
  return [
    `| guarantee | requests a second | ${rates.map((rate) => `at ${rate.toLocaleString('en')} a second: p50 / p99 / p99.9 (ms)`).join(' | ')} |`,
    `|---|---|${rates.map(() => '---|').join('')}`,
    ...rows,
    '',
    `Requests a second: wrk with ${connections} connections, each sending when it has its answer. Then an open loop: requests come at even distances over 64 connections whatever became of those before, and what one took counts from when it was due; – where that is more than four fifths of what the server can do. Median of ${rounds} rounds of ${seconds} s, the servers in turns.`,
    `Machine: ${cpus()[0]?.model.trim()}, Node.js ${process.versions.node}; server on core 0, the load on core 1.`,
  ].join('\n')
}
