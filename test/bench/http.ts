// Decisions a second over HTTP, record on, one core, beside OPA with its decision log on and Cerbos with its audit log on, in
// the same run; batches without sockets first, while no other server is there.
//   npm run bench:http            measures and rewrites its part of docs/benchmarks.md
//   npm run bench:http -- --quick one short round, prints only; for CI
// Needs Linux, wrk, taskset and the program opa (OPA_PROGRAM or on the PATH). Servers run on core 0, the load on core 1.
// Cerbos takes part where CERBOS_PROGRAM names its server (the npm package @cerbos/cerbos-linux-x64 carries it).
import { cpus } from 'node:os'
import { abacBatch, abacQuestion } from './abac.ts'
import {
  batchesInProcess,
  cerbosProgram,
  median,
  opaVersion,
  ratio,
  spread,
  startCerbos,
  startOpa,
  startVerdict,
  writeReport,
} from './servers.ts'
import { luaOf, type Measured, wrk } from './wrk.ts'

const quick = process.argv.includes('--quick')
const rounds = quick ? 1 : 5
const seconds = quick ? 1 : 8
const connections = 32
const batchSize = 100

interface Load {
  readonly title: string
  readonly url: string
  readonly script: string
}

const inProcess = Array.from({ length: rounds }, () => batchesInProcess(batchSize, seconds))
const ports = await startVerdict()
const opaPort = await startOpa()
const cerbosPorts = cerbosProgram === undefined ? undefined : await startCerbos(cerbosProgram)
const [ours, theirs] = [`http://127.0.0.1:${ports.http}`, `http://127.0.0.1:${opaPort}`]
const opaScript = luaOf('opa', (i) => ({ input: abacQuestion(i) }))
const loads = {
  verdict: { title: 'Verdict, `/v1/decide`, record on', url: `${ours}/v1/decide`, script: luaOf('verdict', abacQuestion) },
  data: { title: "Verdict, OPA's `/v1/data`, record on", url: `${ours}/v1/data/authz/decision`, script: opaScript },
  opa: {
    title: `OPA ${opaVersion()}, \`/v1/data\`, decision log on the console`,
    url: `${theirs}/v1/data/authz/decision`,
    script: opaScript,
  },
  ...(cerbosPorts !== undefined && {
    cerbos: {
      title: 'Cerbos, `/api/check/resources`, audit log in a file',
      url: `http://127.0.0.1:${cerbosPorts.http}/api/check/resources`,
      script: luaOf('cerbos', (i) => ({
        requestId: '1',
        principal: { id: 'bob', roles: ['viewer'], attr: { hour: 10 } },
        resources: [{ actions: ['read'], resource: { kind: 'doc', id: String(i), attr: { owner: 'alice' } } }],
      })),
    },
  }),
  batch: { title: 'batches', url: `${ours}/v1/decide`, script: luaOf('batch', () => abacBatch(batchSize)) },
} satisfies Record<string, Load>
type Name = 'verdict' | 'data' | 'opa' | 'cerbos' | 'batch'
const names = Object.keys(loads) as Name[]
for (const name of names) wrk(loads[name] as Load, seconds, connections)
const measured = new Map<Name, Measured[]>(names.map((name) => [name, []]))
for (let round = 0; round < rounds; round++)
  for (const name of names) measured.get(name)?.push(wrk(loads[name] as Load, seconds, connections))
const report = table()
process.stdout.write(`${report}\n`)
if (!quick) writeReport('bench:http', report)
process.exit(0)

function table(): string {
  const of = (name: Name, key: keyof Measured) => (measured.get(name) ?? []).map((one) => one[key])
  const rate = (name: Name) => of(name, 'perSecond')
  const rows = names
    .filter((name) => name !== 'batch')
    .map(
      (name) =>
        `| ${(loads[name] as Load).title} | ${Math.round(median(rate(name))).toLocaleString('en')} | ${median(of(name, 'p50Ms')).toFixed(2)} | ${median(of(name, 'p99Ms')).toFixed(2)} |`,
    )
  return [
    '| server | requests a second | p50 (ms) | p99 (ms) |',
    '|---|---|---|---|',
    ...rows,
    '',
    `\`/v1/decide\` answers ${ratio(rate('verdict'), rate('opa'))} as many as OPA${measured.has('cerbos') ? ` and ${ratio(rate('verdict'), rate('cerbos'))} as many as Cerbos` : ''}; \`/v1/data\` ${ratio(rate('data'), rate('opa'))} as many as OPA's own. Median of ${rounds} rounds of ${seconds} s, the servers in turns.`,
    `In batches of ${batchSize}: ${spread(inProcess)} recorded decisions a second from the text of a request to the text of its answer, with the record in a file, before the other servers start; ${spread(rate('batch').map((one) => one * batchSize))} over HTTP.`,
    `Machine: ${cpus()[0]?.model.trim()}, Node.js ${process.versions.node}; server on core 0, wrk with ${connections} connections on core 1.`,
  ].join('\n')
}
