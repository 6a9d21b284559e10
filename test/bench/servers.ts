// The servers that are compared, each with the small policy and its record of decisions on, all on core 0.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { freePort, untilUp } from '../support/ports.ts'
import { abacData, abacPolicy } from './abac.ts'

export const root = new URL('../../', import.meta.url).pathname
export const folder = mkdtempSync(join(tmpdir(), 'verdict-bench-'))
export const opaProgram = process.env.OPA_PROGRAM ?? 'opa'
/** Cerbos takes part where this names its server. */
export const cerbosProgram = process.env.CERBOS_PROGRAM
export const node = [process.execPath, '--disable-warning=ExperimentalWarning']

const children: ChildProcess[] = []
process.on('exit', () => {
  for (const child of children) child.kill('SIGKILL')
  rmSync(folder, { recursive: true, force: true })
})

/** The small policy as a folder. */
export const bundle = join(folder, 'bundle')
mkdirSync(bundle)
writeFileSync(join(bundle, 'authz.rego'), abacPolicy)
writeFileSync(join(bundle, 'data.json'), JSON.stringify(abacData))

/**
 * Recorded decisions a second in batches without sockets, on core 0.
 * @param message file of a DecideBatchRequest; absent: as JSON text
 */
export function batchesInProcess(size: number, seconds: number, message?: string): number {
  const state = mkdtempSync(join(folder, 'state-'))
  const args = [bundle, state, String(size), String(seconds), ...(message === undefined ? [] : [message])]
  try {
    return Number(execFileSync('taskset', ['-c', '0', ...node, `${root}test/bench/batch-child.ts`, ...args], { encoding: 'utf8' }))
  } finally {
    // Gigabytes of records that still go to the disk would slow the next round.
    rmSync(state, { recursive: true, force: true })
  }
}

export interface Ports {
  readonly http: number
  readonly grpc: number
}

/**
 * @param more options of `serve`
 * @param env settings by their variables
 */
export async function startVerdict(
  more: readonly string[] = [],
  env: Readonly<Record<string, string>> = {},
): Promise<Ports & { readonly pid: number }> {
  const ports = { http: await freePort(), grpc: await freePort() }
  const state = join(folder, `state-${ports.http}`)
  const { pid, said } = start([
    // What is measured is evaluations; the cache has a bench of its own.
    'env',
    'VERDICT_CACHE_ENABLED=false',
    ...Object.entries(env).map(([name, value]) => `${name}=${value}`),
    ...node,
    `${root}src/main.ts`,
    'serve',
    '--bundle',
    bundle,
    '--port',
    String(ports.http),
    '--grpc-port',
    String(ports.grpc),
    '--state',
    state,
    ...more,
  ])
  // Not by asking it: it may ask for a certificate.
  for (let left = 600; !said().includes('answers at'); left--) {
    if (left === 0) throw new Error(said())
    await sleep(100)
  }
  return { ...ports, pid }
}

export async function startOpa(): Promise<number> {
  const port = await freePort()
  start([opaProgram, 'run', '-s', '--addr', `127.0.0.1:${port}`, '--log-level', 'error', '--set', 'decision_logs.console=true', bundle])
  await ready(`http://127.0.0.1:${port}/health`)
  return port
}

/** The same policy as far as Cerbos can say it, with its audit log in a file. */
export async function startCerbos(program: string): Promise<Ports> {
  const ports = { http: await freePort(), grpc: await freePort() }
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
    `server: {httpListenAddr: "127.0.0.1:${ports.http}", grpcListenAddr: "127.0.0.1:${ports.grpc}"}
storage: {driver: disk, disk: {directory: ${policies}}}
telemetry: {disabled: true}
audit: {enabled: true, decisionLogsEnabled: true, accessLogsEnabled: false, backend: file, file: {path: ${join(folder, 'cerbos.log')}}}
`,
  )
  start([program, 'server', '--config', config, '--log-level=error'])
  await ready(`http://127.0.0.1:${ports.http}/_cerbos/health`)
  return ports
}

function start(command: readonly string[]): { readonly pid: number; readonly said: () => string } {
  const log = join(folder, `${children.length}.log`)
  const sink = openSync(log, 'w')
  const child = spawn('taskset', ['-c', '0', ...command], { stdio: ['ignore', sink, sink] })
  children.push(child)
  return { pid: child.pid as number, said: () => readFileSync(log, 'utf8') }
}

async function ready(url: string): Promise<void> {
  await untilUp(url).catch((cause: unknown) => {
    throw new Error(readFileSync(join(folder, '0.log'), 'utf8'), { cause })
  })
}

export function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] as number
}

/** `5.82 times (lowest 5.27, highest 6.27)` */
export function ratio(ours: readonly number[], theirs: readonly number[]): string {
  const all = ours.map((one, i) => one / (theirs[i] as number))
  return `**${median(all).toFixed(2)} times** (lowest ${Math.min(...all).toFixed(2)}, highest ${Math.max(...all).toFixed(2)})`
}

/** `60,125 (lowest 56,470, highest 73,466)` */
export function spread(values: readonly number[]): string {
  const [middle, lowest, highest] = [median(values), Math.min(...values), Math.max(...values)].map((one) =>
    Math.round(one).toLocaleString('en'),
  )
  return `**${middle}** (lowest ${lowest}, highest ${highest})`
}

export function opaVersion(): string | undefined {
  return /Version: (\S+)/.exec(execFileSync(opaProgram, ['version'], { encoding: 'utf8' }))?.[1]
}

/** Puts a report in its place in docs/benchmarks.md. */
export function writeReport(name: string, report: string): void {
  const page = `${root}docs/benchmarks.md`
  const place = new RegExp(`(<!-- ${name} -->\\n)[\\s\\S]*?(<!-- \\/${name} -->)`)
  writeFileSync(
    page,
    readFileSync(page, 'utf8').replace(place, (_, before: string, after: string) => `${before}${report}\n${after}`),
  )
}
