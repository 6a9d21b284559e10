// Decisions a second over HTTP, record on, one core, beside OPA with its decision log on and Cerbos with its audit log on, in
// the same run.
//   npm run bench:http            measures and rewrites its part of docs/benchmarks.md
//   npm run bench:http -- --quick one short round, prints only; for CI
// Needs Linux, wrk, taskset and the program opa (OPA_PROGRAM or on the PATH). Servers run on core 0, the load on core 1.
// Cerbos takes part where CERBOS_PROGRAM names its server (the npm package @cerbos/cerbos-linux-x64 carries it).
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort, untilUp } from '../support/ports.ts'
import { abacBatch, abacData, abacPolicy, abacQuestion } from './abac.ts'

const quick = process.argv.includes('--quick')
const rounds = quick ? 1 : 5
const seconds = quick ? 3 : 8
const connections = 32
const batchSize = 100
const root = new URL('../../', import.meta.url).pathname
const folder = mkdtempSync(join(tmpdir(), 'verdict-bench-'))
const opaProgram = process.env.OPA_PROGRAM ?? 'opa'
const cerbosProgram = process.env.CERBOS_PROGRAM

interface Measured {
  readonly perSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
}

interface Round {
  readonly verdict: Measured
  readonly opa: Measured
  readonly cerbos?: Measured
  /** Requests that ask `batchSize` questions each. */
  readonly batch: Measured
  /** Recorded decisions a second of such batches without sockets. */
  readonly inProcess: number
}

const children: ChildProcess[] = []
process.on('exit', () => {
  for (const child of children) child.kill('SIGKILL')
  rmSync(folder, { recursive: true, force: true })
})

const bundle = join(folder, 'bundle')
mkdirSync(bundle)
writeFileSync(join(bundle, 'authz.rego'), abacPolicy)
writeFileSync(join(bundle, 'data.json'), JSON.stringify(abacData))
const verdictPort = await freePort()
const opaPort = await freePort()
const main = [process.execPath, '--disable-warning=ExperimentalWarning', `${root}src/main.ts`]
start([...main, 'serve', '--bundle', bundle, '--port', String(verdictPort), '--state', join(folder, 'state')])
start([opaProgram, 'run', '-s', '--addr', `127.0.0.1:${opaPort}`, '--log-level', 'error', '--set', 'decision_logs.console=true', bundle])
await ready(`http://127.0.0.1:${verdictPort}/readyz`)
await ready(`http://127.0.0.1:${opaPort}/health`)

const cerbos = cerbosProgram === undefined ? undefined : await startCerbos(cerbosProgram)

const verdict = { url: `http://127.0.0.1:${verdictPort}/v1/decide`, script: lua('verdict', abacQuestion) }
const opa = { url: `http://127.0.0.1:${opaPort}/v1/data/authz/decision`, script: lua('opa', (i) => ({ input: abacQuestion(i) })) }
const batch = { url: verdict.url, script: lua('batch', () => abacBatch(batchSize)) }
wrk(verdict)
wrk(batch)
wrk(opa)
if (cerbos !== undefined) wrk(cerbos)
const measured: Round[] = Array.from({ length: rounds }, () => ({
  verdict: wrk(verdict),
  opa: wrk(opa),
  ...(cerbos !== undefined && { cerbos: wrk(cerbos) }),
  batch: wrk(batch),
  inProcess: batchesInProcess(),
}))
const report = table(measured)
process.stdout.write(`${report}\n`)
if (!quick) {
  const page = `${root}docs/benchmarks.md`
  writeFileSync(page, readFileSync(page, 'utf8').replace(/(<!-- bench:http -->\n)[\s\S]*?(<!-- \/bench:http -->)/, `$1${report}\n$2`))
}
process.exit(0)

function start(command: readonly string[]): void {
  const sink = openSync(join(folder, `${children.length}.log`), 'w')
  children.push(spawn('taskset', ['-c', '0', ...command], { stdio: ['ignore', sink, sink] }))
}

/** The same policy as far as Cerbos can say it, with its audit log in a file. */
async function startCerbos(program: string): Promise<{ url: string; script: string }> {
  const [http, grpc] = [await freePort(), await freePort()]
  const policies = join(folder, 'cerbos')
  mkdirSync(policies)
  writeFileSync(
    join(policies, 'doc.yaml'),
    `apiVersion: api.cerbos.dev/v1
resourcePolicy:
  version: default
  resource: doc
  rules:
    - {actions: [read, write], effect: EFFECT_ALLOW, roles: [admin]}
    - {actions: [read], effect: EFFECT_ALLOW, roles: [viewer]}
    - actions: [read, update]
      effect: EFFECT_ALLOW
      roles: ["*"]
      condition: {match: {expr: request.resource.attr.owner == request.principal.id && request.principal.attr.hour >= 8 && request.principal.attr.hour < 18}}
`,
  )
  const config = join(folder, 'cerbos.yaml')
  writeFileSync(
    config,
    `server: {httpListenAddr: "127.0.0.1:${http}", grpcListenAddr: "127.0.0.1:${grpc}"}
storage: {driver: disk, disk: {directory: ${policies}}}
telemetry: {disabled: true}
audit: {enabled: true, decisionLogsEnabled: true, accessLogsEnabled: false, backend: file, file: {path: ${join(folder, 'cerbos.log')}}}
`,
  )
  start([program, 'server', '--config', config, '--log-level=error'])
  await ready(`http://127.0.0.1:${http}/_cerbos/health`)
  const script = lua('cerbos', (i) => ({
    requestId: '1',
    principal: { id: 'bob', roles: ['viewer'], attr: { hour: 10 } },
    resources: [{ actions: ['read'], resource: { kind: 'doc', id: String(i), attr: { owner: 'alice' } } }],
  }))
  return { url: `http://127.0.0.1:${http}/api/check/resources`, script }
}

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

function wrk({ url, script }: { url: string; script: string }): Measured {
  const out = execFileSync('taskset', ['-c', '1', 'wrk', '-t1', `-c${connections}`, `-d${seconds}s`, '-s', script, url], {
    encoding: 'utf8',
  })
  const [, perSecond, p50, p99, bad] = /RESULT (\S+) (\S+) (\S+) (\d+)/.exec(out) ?? []
  if (bad !== '0') throw new Error(`${bad} answers of ${url} were not right:\n${out}`)
  return { perSecond: Number(perSecond), p50Ms: Number(p50), p99Ms: Number(p99) }
}

function batchesInProcess(): number {
  const child = [...main.slice(0, -1), `${root}test/bench/batch-child.ts`]
  const state = mkdtempSync(join(folder, 'state-'))
  return Number(execFileSync('taskset', ['-c', '0', ...child, bundle, state, String(batchSize), String(seconds)], { encoding: 'utf8' }))
}

function table(measured: readonly Round[]): string {
  const median = (values: number[]) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)] as number
  const version = /Version: (\S+)/.exec(execFileSync(opaProgram, ['version'], { encoding: 'utf8' }))?.[1]
  const servers = {
    verdict: 'Verdict, `/v1/decide`, record on',
    opa: `OPA ${version}, \`/v1/data\`, decision log on the console`,
    cerbos: 'Cerbos, `/api/check/resources`, audit log in a file',
  } as const
  const taking = (Object.keys(servers) as (keyof typeof servers)[]).filter((name) => measured[0]?.[name] !== undefined)
  const of = (name: keyof typeof servers, key: keyof Measured) => median(measured.map((round) => (round[name] as Measured)[key]))
  const rows = taking.map(
    (name) =>
      `| ${servers[name]} | ${Math.round(of(name, 'perSecond')).toLocaleString('en')} | ${of(name, 'p50Ms').toFixed(2)} | ${of(name, 'p99Ms').toFixed(2)} |`,
  )
  const ratios = taking.slice(1).map((name) => {
    const all = measured.map((round) => round.verdict.perSecond / (round[name] as Measured).perSecond)
    const spread = `lowest ${Math.min(...all).toFixed(2)}, highest ${Math.max(...all).toFixed(2)}`
    return `**${median(all).toFixed(2)} times** as many as ${servers[name].split(/[ ,]/)[0]} (${spread})`
  })
  const recorded = (of: (round: Round) => number) => {
    const all = measured.map(of)
    const [middle, lowest, highest] = [median(all), Math.min(...all), Math.max(...all)].map((one) => Math.round(one).toLocaleString('en'))
    return `**${middle} recorded decisions a second** (lowest ${lowest}, highest ${highest})`
  }
  return [
    '| server | requests a second | p50 (ms) | p99 (ms) |',
    '|---|---|---|---|',
    ...rows,
    '',
    `Verdict answers ${ratios.join(' and ')}; median of ${measured.length} rounds of ${seconds} s, the servers in turns.`,
    `In batches of ${batchSize}: ${recorded(({ inProcess }) => inProcess)} from the text of a request to the text of its answer, with the record in a file; ${recorded(({ batch }) => batch.perSecond * batchSize)} over HTTP.`,
    `Machine: ${cpus()[0]?.model.trim()}, Node.js ${process.versions.node}; server on core 0, wrk with ${connections} connections on core 1.`,
  ].join('\n')
}

async function ready(url: string): Promise<void> {
  await untilUp(url).catch((cause: unknown) => {
    throw new Error(readFileSync(join(folder, '0.log'), 'utf8'), { cause })
  })
}
