// npm run conformance: OPA's official cases, compiled and run through Verdict's engine; a report by group.
//   --write   writes docs/conformance.md
//   --check   fails when docs/conformance.md is not what the run gives
//   --only S  only cases whose group or note contains S
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { MessageChannel, Worker } from 'node:worker_threads'
import { elementsOf } from '../../src/decision/json-text.ts'
import { PdpError } from '../../src/errors.ts'
import { createBlockingNetwork } from '../../src/network/blocking.ts'
import type { NetworkThreadData } from '../../src/network/thread.ts'
import { PolicyInstance } from '../../src/policy/policy-instance.ts'
import { compilePolicyModule } from '../../src/policy/policy-module.ts'
import { createReactorHost, ReactorHost } from '../../src/rego/reactor-host.ts'
import { Toolchain } from '../../src/rego/toolchain.ts'
import { type CanonicalOptions, canonical } from '../support/json-value.ts'
import { type ConformanceCase, loadCases } from './cases.ts'
import { excluded } from './excluded.ts'
import { report } from './report.ts'

export interface Outcome {
  readonly of: ConformanceCase
  /** Undefined: it holds. */
  readonly fault: string | undefined
}

const { values: args } = parseArgs({
  options: { write: { type: 'boolean' }, check: { type: 'boolean' }, only: { type: 'string' } },
})
const limits = { maxSteps: 100_000_000, maxMemoryBytes: 256 * 2 ** 20 }
const toolchains = [new Toolchain(), new Toolchain()]
const first = toolchains[0] as Toolchain
const loaded = await loadCases(first)
const cases = loaded.cases.filter(({ group, note }) => args.only === undefined || `${group} ${note}`.includes(args.only))
const env = Object.assign({}, ...cases.map((c) => c.env))
// A network that reaches this machine's own name, which one case looks up.
const networkData: NetworkThreadData = { allow: ['localhost'], limits: { timeoutMs: 1_000, maxResponseBytes: 1_000 } }
const networkThread = new Worker(new URL('../../src/network/thread.ts', import.meta.url), { workerData: networkData })
networkThread.unref()
const { port1, port2 } = new MessageChannel()
const signal = new SharedArrayBuffer(4)
networkThread.postMessage({ port: port1, signal }, [port1])
port2.unref()
const { builtins } = await first.about()
const host = new ReactorHost(await first.module(), new Set(builtins), '{}', createBlockingNetwork(port2, signal, 1_000))
const hostWithEnvironment = await createReactorHost(first, JSON.stringify({ env }))

const began = Date.now()
const outcomes: Outcome[] = []
const queue = [...cases]
await Promise.all(
  toolchains.map(async (toolchain) => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      outcomes.push({ of: next, fault: await faultOf(toolchain, next, Object.keys(next.env).length > 0 ? hostWithEnvironment : host) })
      if (process.stderr.isTTY) process.stderr.write(`\r${outcomes.length} of ${cases.length}`)
    }
  }),
)
await Promise.all(toolchains.map((t) => t.close()))

const failed = outcomes.filter(({ of, fault }) => fault !== undefined && !excluded.has(of.note))
for (const { of, fault } of failed) console.log(`${of.group} | ${of.note} | ${fault}`)
const needless = [...excluded.keys()].filter((note) => outcomes.some(({ of, fault }) => of.note === note && fault === undefined))
for (const note of needless) console.log(`excluded, but it holds: ${note}`)
const passed = outcomes.filter(({ fault }) => fault === undefined).length
console.log(
  `${passed} of ${cases.length} cases in ${((Date.now() - began) / 1000).toFixed(0)} s; ${outcomes.length - passed - failed.length} excluded`,
)

if (args.only === undefined) {
  const file = join(import.meta.dirname, '../../docs/conformance.md')
  const text = report(loaded.version, outcomes, excluded)
  if (args.write) writeFileSync(file, text)
  if (args.check && readFileSync(file, 'utf8') !== text) {
    console.log('docs/conformance.md is out of date: npm run conformance -- --write')
    process.exitCode = 1
  }
}
if (failed.length > 0 || needless.length > 0) process.exitCode = 1

async function faultOf(toolchain: Toolchain, of: ConformanceCase, functions: ReactorHost): Promise<string | undefined> {
  let resultSet: string
  try {
    const files = Object.fromEntries(of.modules.map((text, i) => [`module${i}.rego`, text]))
    const query = of.inputTerm === undefined ? of.query : `${of.query} with input as ${of.inputTerm}`
    const module = await compilePolicyModule(await toolchain.buildQuery({ files, experimental: of.experimental }, query))
    const instance = new PolicyInstance(module, of.data ?? '{}', functions, limits)
    resultSet = instance.query(0, of.input, Date.now(), of.strict).resultSet
  } catch (thrown) {
    const { code, message } = thrown as PdpError
    if (!(thrown instanceof PdpError)) return `threw ${(thrown as Error).stack}`
    const wanted = of.wantError === undefined ? undefined : codeFor(of.wantError)
    return wanted === code ? undefined : `wanted ${wanted ?? 'no error'}, got ${code}: ${message}`
  }
  if (of.wantError !== undefined) return `wanted an error (${of.wantError}), got ${resultSet}`
  if (of.wantResult !== undefined) {
    const same = { numeric: true, unordered: of.sortBindings }
    const [want, got] = [of.wantResult, resultSet].map((text) => asResultSet(text, same))
    return want === got ? undefined : `wanted ${want}, got ${got}`
  }
  const defined = resultSet !== '[]'
  return defined === of.wantDefined ? undefined : `wanted ${of.wantDefined ? 'a result' : 'none'}, got ${resultSet}`
}

/** Answers have no order among themselves. */
function asResultSet(text: string, options: CanonicalOptions): string {
  return elementsOf(text)
    .map((answer) => canonical(answer, options))
    .sort()
    .join('\n')
}

/** Verdict's code for OPA's. */
function codeFor(opaCode: string): string {
  return /builtin|type_error/.test(opaCode) ? 'ERR_BUILTIN_FAILED' : 'ERR_EVALUATION_FAILED'
}
