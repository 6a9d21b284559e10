// Decisions a second over HTTP, record on, one core, beside OPA with its decision log on and Cerbos with its audit log on, in
// the same run; batches without sockets first, while no other server is there.
//   npm run bench:http            measures and rewrites its part of docs/benchmarks.md
//   npm run bench:http -- --quick one short round, prints only; for CI
// Needs Linux, wrk, taskset and the program opa (OPA_PROGRAM or on the PATH). Servers run on core 0, the load on core 1.
// Cerbos takes part where CERBOS_PROGRAM names its server (the npm package @cerbos/cerbos-linux-x64 carries it).
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { abacBatch, abacQuestion } from './abac.ts'
import {
  batchesInProcess,
  cerbosProgram,
  folder,
  median,
  opaVersion,
  ratio,
  spread,
  startCerbos,
  startOpa,
  startVerdict,
  writeReport,
} from './servers.ts'

const quick = process.argv.includes('--quick')
const rounds = quick ? 1 : 5
const seconds = quick ? 3 : 8
const connections = 32
const batchSize = 100

interface Load {
  readonly title: string
  readonly url: string
  readonly script: string
}

interface Measured {
  readonly perSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
}

const inProcess = Array.from({ length: rounds }, () => batchesInProcess(batchSize, seconds))
const ports = await startVerdict()
const opaPort = await startOpa()
const cerbosPorts = cerbosProgram === undefined ? undefined : await startCerbos(cerbosProgram)
const [ours, theirs] = [`http://127.0.0.1:${ports.http}`, `http://127.0.0.1:${opaPort}`]
const opaScript = lua('opa', (i) => ({ input: abacQuestion(i) }))
const loads = {
  verdict: { title: 'Verdict, `/v1/decide`, record on', url: `${ours}/v1/decide`, script: lua('verdict', abacQuestion) },
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
      script: lua('cerbos', (i) => ({
        requestId: '1',
        principal: { id: 'bob', roles: ['viewer'], attr: { hour: 10 } },
        resources: [{ actions: ['read'], resource: { kind: 'doc', id: String(i), attr: { owner: 'alice' } } }],
      })),
    },
  }),
  batch: { title: 'batches', url: `${ours}/v1/decide`, script: lua('batch', () => abacBatch(batchSize)) },
} satisfies Record<string, Load>
type Name = 'verdict' | 'data' | 'opa' | 'cerbos' | 'batch'
const names = Object.keys(loads) as Name[]
for (const name of names) wrk(loads[name] as Load)
const measured = new Map<Name, Measured[]>(names.map((name) => [name, []]))
for (let round = 0; round < rounds; round++) for (const name of names) measured.get(name)?.push(wrk(loads[name] as Load))
const report = table()
process.stdout.write(`${report}\n`)
if (!quick) writeReport('bench:http', report)
process.exit(0)

/** A script for wrk that sends 500 different bodies in turn and ends with one line of figures. */
function lua(name: string, make: (i: number) => object): string {
  const file = join(folder, `${name}.lua`)
  const bodies = Array.from({ length: 500 }, (_, i) => `'${JSON.stringify(make(i))}'`)
  const script = [
    `local bodies = {${bodies.join(',')}}`,
    'local n = 0',
    'request = function() n = n % 500 + 1; return wrk.format("POST", nil, {["Content-Type"]="application/json"}, bodies[n]) end',
    'done = function(s, l) local bad = s.errors.status + s.errors.read + s.errors.timeout',
    '  io.write(string.format("RESULT %f %f %f %d\\n", s.requests / s.duration * 1e6, l:percentile(50) / 1000, l:percentile(99) / 1000, bad)) end',
  ]
  writeFileSync(file, script.join('\n'))
  return file
}

function wrk({ url, script }: Load): Measured {
  const out = execFileSync('taskset', ['-c', '1', 'wrk', '-t1', `-c${connections}`, `-d${seconds}s`, '-s', script, url], {
    encoding: 'utf8',
  })
  const [, perSecond, p50, p99, bad] = /RESULT (\S+) (\S+) (\S+) (\d+)/.exec(out) ?? []
  if (bad !== '0') throw new Error(`${bad} answers of ${url} were not right:\n${out}`)
  return { perSecond: Number(perSecond), p50Ms: Number(p50), p99Ms: Number(p99) }
}

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
