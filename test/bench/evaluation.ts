// npm run bench:evaluation: what one evaluation costs, beside OPA's evaluator on the same core in the same run.
//   --quick       short rounds of the small cases, prints only; for CI
//   --only TEXT   cases whose name contains it, prints only
// Rewrites its part of docs/benchmarks.md and the plot beside it. Needs Linux, taskset and the program opa (OPA_PROGRAM or on
// the PATH). Verdict's time counts from the input's text to the result's text; OPA's (`opa bench`) from a parsed input to
// a result that is no text yet.
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { Toolchain } from '../../src/rego/toolchain.ts'
import { freePort, untilUp } from '../support/ports.ts'
import { type BenchCase, benchCases } from './evaluation-cases.ts'
import { growthPlot } from './growth-plot.ts'

const { values: args } = parseArgs({ options: { quick: { type: 'boolean' }, only: { type: 'string' } } })
const root = new URL('../../', import.meta.url).pathname
const opaProgram = process.env.OPA_PROGRAM ?? 'opa'
const rounds = args.quick ? 1 : 3
const seconds = args.quick ? 0.3 : 1.5
const folder = mkdtempSync(join(tmpdir(), 'verdict-bench-'))
process.on('exit', () => rmSync(folder, { recursive: true, force: true }))

interface Measured {
  readonly bench: BenchCase
  readonly verdictNs: number
  readonly opaNs: number
  readonly ratio: number
  readonly lowest: number
  readonly highest: number
  readonly buildMs: number
  readonly loadMs: number
  readonly opaLoadMs: number
  readonly policyBytes: number
  /** What OPA's server takes with the data beyond what it takes without; undefined: not measured. */
  readonly opaBytes: number | undefined
}

const toolchain = new Toolchain()
const measured: Measured[] = []
for (const bench of benchCases()) {
  if (args.only !== undefined && !bench.name.includes(args.only)) continue
  if (args.quick && (bench.size?.[1] ?? 0) > 1_000) continue
  const one = await measure(bench)
  measured.push(one)
  console.log(row(one))
}
await toolchain.close()
if (args.only !== undefined) for (const line of loading()) console.log(line)
if (!args.quick && args.only === undefined) {
  const page = `${root}docs/benchmarks.md`
  writeFileSync(
    page,
    readFileSync(page, 'utf8').replace(/(<!-- bench:evaluation -->\n)[\s\S]*?(<!-- \/bench:evaluation -->)/, `$1${report()}\n$2`),
  )
  writeFileSync(
    `${root}docs/benchmarks-growth.svg`,
    growthPlot(
      measured.flatMap(({ bench, verdictNs, opaNs }) =>
        bench.size ? [{ family: bench.size[0], size: bench.size[1], verdictNs, opaNs }] : [],
      ),
    ),
  )
}

async function measure(bench: BenchCase): Promise<Measured> {
  const place = join(folder, bench.name.replaceAll(/\W/g, '-'))
  for (const [path, text] of Object.entries(bench.files)) {
    mkdirSync(dirname(join(place, path)), { recursive: true })
    writeFileSync(join(place, path), text)
  }
  writeFileSync(join(place, 'data.json'), bench.data)
  const input = JSON.stringify(bench.input)
  writeFileSync(join(place, 'input.json'), input)
  const began = performance.now()
  const { wasm } = await toolchain.build({ files: bench.files }, [bench.entrypoint], { skipReads: true })
  const buildMs = performance.now() - began
  const child = JSON.stringify({ wasm: Buffer.from(wasm).toString('base64'), data: bench.data, input, entrypoint: bench.entrypoint })
  const pairs = Array.from({ length: rounds }, () => ({ verdict: verdict(child), opa: opa(place, bench) }))
  for (const { verdict: ours, opa: theirs } of pairs) {
    const same = JSON.stringify(JSON.parse(ours.result ?? 'null')) === JSON.stringify(theirs.value)
    if (!same) throw new Error(`${bench.name}: the answers differ: ${ours.result} and ${JSON.stringify(theirs.value)}`)
  }
  const median = (values: number[]) => values.sort((a, b) => a - b)[values.length >> 1] as number
  const ratios = pairs.map((pair) => pair.opa.ns / pair.verdict.ns)
  return {
    bench,
    verdictNs: median(pairs.map((pair) => pair.verdict.ns)),
    opaNs: median(pairs.map((pair) => pair.opa.ns)),
    ratio: median(ratios),
    lowest: Math.min(...ratios),
    highest: Math.max(...ratios),
    buildMs,
    loadMs: median(pairs.map((pair) => pair.verdict.loadMs)),
    opaLoadMs: median(pairs.map((pair) => pair.opa.loadMs)),
    policyBytes: pairs[0]?.verdict.policyBytes ?? 0,
    opaBytes:
      bench.size?.[0] === 'entries of data'
        ? (await opaResident(place)) - (await opaResident(mkdtempSync(join(folder, 'empty-'))))
        : undefined,
  }
}

function pinned(program: string, programArgs: readonly string[], input?: string): string {
  return execFileSync('taskset', ['-c', '0', program, ...programArgs], {
    encoding: 'utf8',
    ...(input !== undefined && { input }),
    maxBuffer: 2 ** 28,
    env: { ...process.env, GOMAXPROCS: '1' },
    stdio: ['pipe', 'pipe', 'pipe'],
  })
}

function verdict(child: string): { ns: number; loadMs: number; policyBytes: number; result?: string } {
  const script = new URL('evaluation-child.ts', import.meta.url).pathname
  return JSON.parse(pinned(process.execPath, ['--disable-warning=ExperimentalWarning', script, String(seconds)], child))
}

function opa(place: string, { entrypoint }: BenchCase): { ns: number; loadMs: number; value: unknown } {
  const query = `data.${entrypoint.replaceAll('/', '.')}`
  const common = ['-d', join(place), '-i', join(place, 'input.json'), '--format', 'json']
  // The folder's input.json would be loaded as data, too.
  const ignore = ['--ignore', 'input.json']
  const benchmark = JSON.parse(pinned(opaProgram, ['bench', ...common, ...ignore, query])) as { N: number; T: number }
  const once = JSON.parse(pinned(opaProgram, ['eval', ...common, ...ignore, '--metrics', query])) as {
    result: [{ expressions: [{ value: unknown }] }]
    metrics: { timer_rego_load_files_ns: number }
  }
  return {
    ns: benchmark.T / benchmark.N,
    loadMs: once.metrics.timer_rego_load_files_ns / 1e6,
    value: once.result[0].expressions[0].value,
  }
}

/** Resident memory of OPA's server a second after it has loaded a folder. Bytes. */
async function opaResident(place: string): Promise<number> {
  const address = `127.0.0.1:${await freePort()}`
  const server = spawn(opaProgram, ['run', '-s', '--addr', address, '--log-level', 'error', '--ignore', 'input.json', place], {
    stdio: 'ignore',
  })
  try {
    await untilUp(`http://${address}/health`)
    await sleep(1_000)
    return Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${server.pid}/status`, 'utf8'))?.[1]) * 1_024
  } finally {
    server.kill('SIGKILL')
    await once(server, 'exit')
  }
}

/** Lines of the table of data; none where none was loaded. */
function loading(): string[] {
  const loads = measured.filter(({ bench }) => bench.size?.[0] === 'entries of data')
  if (loads.length === 0) return []
  return [
    'Loading data, from its text:',
    '',
    "| data | Verdict (ms) | OPA (ms) | Verdict's memory of the policy (MiB) | OPA's server, beyond one without data (MiB) |",
    '|---|---|---|---|---|',
    ...loads.map(
      (one) =>
        `| ${one.bench.name} | ${one.loadMs.toFixed(0)} | ${one.opaLoadMs.toFixed(0)} | ${(one.policyBytes / 2 ** 20).toFixed(0)} | ${((one.opaBytes ?? 0) / 2 ** 20).toFixed(0)} |`,
    ),
    '',
  ]
}

function row({ bench, verdictNs, opaNs, ratio, lowest, highest }: Measured): string {
  return `| ${bench.name} | ${us(verdictNs)} | ${us(opaNs)} | ${ratio.toFixed(1)} (${lowest.toFixed(1)} to ${highest.toFixed(1)}) |`
}

function us(ns: number): string {
  return (ns / 1_000).toFixed(ns < 100_000 ? 1 : 0)
}

function report(): string {
  const version = /Version: (\S+)/.exec(execFileSync(opaProgram, ['version'], { encoding: 'utf8' }))?.[1]
  const builds = measured.filter(({ bench }) => bench.size?.[0] === 'similar rules')
  return [
    `| policy | Verdict (µs) | OPA ${version} (µs) | times as fast |`,
    '|---|---|---|---|',
    ...measured.map(row),
    '',
    ...loading(),
    `Building: ${builds.map((one) => `${one.bench.name} ${one.buildMs.toFixed(0)} ms`).join(', ')}.`,
    '',
    `Median of ${rounds} paired rounds; lowest and highest ratio in brackets. Machine: ${cpus()[0]?.model.trim()}, Node.js ${process.versions.node}, one core.`,
  ].join('\n')
}
