// The gate: what a candidate has to pass before it may answer. Types and the bundle's own tests in the toolchain's thread, the
// module, its own decisions and recorded ones in a thread of this check alone (gate-worker.ts).
import { availableMemory } from 'node:process'
import type { Bundle } from './bundles/bundle.ts'
import { type Check, type GateReport, type Replay, toReport } from './bundles/gate-report.ts'
import type { BundleRules } from './config.ts'
import { formatFinding, PdpError, toPdpError } from './errors.ts'
import { startWorker } from './evaluation-workers.ts'
import type { GateAnswer, GateSubject, GateWorkerData } from './gate-worker.ts'
import { forecastDataBytes } from './policy/data-forecast.ts'
import type { PolicyLimits } from './policy/policy-limits.ts'
import type { PolicyModule } from './policy/policy-module.ts'
import type { RegoTestResult, Toolchain } from './rego/toolchain.ts'

export interface GateOptions {
  readonly toolchain: Toolchain
  readonly runtimeJson: string
  readonly limits: PolicyLimits
  readonly trustedKey: string
  /** Where the records of decisions lie. */
  readonly recordsFolder: string
}

/**
 * Never throws: what goes wrong is in the report. The candidate comes back compiled, so that its activation does not do that again.
 * @param active what answers now
 */
export async function runGate(
  name: string,
  candidate: Bundle,
  active: Bundle | undefined,
  rules: BundleRules,
  options: GateOptions,
): Promise<{ readonly report: GateReport; readonly module: PolicyModule | undefined }> {
  const began = performance.now()
  const { toolchain } = options
  const checks: Check[] = [
    checkSignature(candidate),
    await checkTypes(candidate, toolchain),
    await checkTests(candidate, rules.gate.minCoverage, toolchain),
  ]
  const memory = checkMemory(candidate)
  checks.push(memory)
  // What does not fit would take the service with it.
  if (memory.outcome === 'failed') return { report: toReport(checks, undefined, performance.now() - began), module: undefined }
  const { checks: more, replay, module } = await inThread(name, candidate, active, rules, options)
  return { report: toReport([...checks, ...more], replay, performance.now() - began), module }
}

/**
 * What the newest recorded decisions would be by another revision.
 * @throws PdpError ERR_POLICY_INVALID where one of the two cannot be asked any longer
 */
export async function compareDecisions(name: string, from: Bundle, to: Bundle, rules: BundleRules, options: GateOptions): Promise<Replay> {
  const { replay, checks } = await inThread(name, { ...to, vectors: undefined }, from, rules, options)
  if (replay !== undefined) return replay
  throw new PdpError('ERR_POLICY_INVALID', checks.at(-1)?.message ?? 'nothing was compared')
}

/** Its data is loaded twice: for the checks, and to answer, beside what is active. */
function checkMemory({ data }: Bundle): Check {
  const mib = (bytes: number) => Math.ceil(bytes / 2 ** 20)
  const needed = 2 * forecastDataBytes(data)
  const available = availableMemory()
  const message = `${mib(needed)} MiB for its data while it is checked and activated, ${mib(available)} MiB are available`
  return { name: 'memory', outcome: needed > available ? 'failed' : 'passed', message }
}

/** What is wrong with a signature was refused before; here it is only told. */
function checkSignature({ signed }: Bundle): Check {
  if (signed === undefined) return { name: 'signature', outcome: 'skipped', message: 'the bundle is not signed' }
  const until = signed.expiresAtMs === undefined ? '' : `, until ${new Date(signed.expiresAtMs).toISOString()}`
  return { name: 'signature', outcome: 'passed', message: `by the key \`${signed.keyId}\` (${signed.algorithm})${until}` }
}

async function checkTypes({ modules, inputSchema, manifest }: Bundle, toolchain: Toolchain): Promise<Check> {
  if (Object.keys(modules).length === 0) return { name: 'types', outcome: 'skipped', message: 'the bundle brings no Rego' }
  try {
    await toolchain.check({ files: modules, regoVersion: manifest.rego_version }, inputSchema)
    return {
      name: 'types',
      outcome: 'passed',
      message: inputSchema === undefined ? 'no findings' : 'no findings, input.schema.json included',
    }
  } catch (thrown) {
    const { findings, message } = toPdpError(thrown)
    return { name: 'types', outcome: 'failed', message, details: findings.map(formatFinding) }
  }
}

async function checkTests({ modules, data, manifest }: Bundle, minCoverage: number, toolchain: Toolchain): Promise<Check> {
  if (!Object.keys(modules).some((path) => path.endsWith('_test.rego'))) {
    return minCoverage > 0
      ? { name: 'tests', outcome: 'failed', message: `the bundle brings no tests, and ${minCoverage} % of its lines must be covered` }
      : { name: 'tests', outcome: 'skipped', message: 'the bundle brings no tests' }
  }
  try {
    const { results, coverage } = await toolchain.test({ files: modules, regoVersion: manifest.rego_version }, data)
    const failed = results.filter(({ outcome }) => outcome === 'fail' || outcome === 'error')
    const message = `${results.length - failed.length} of ${results.length} tests passed, ${coverage.coverage} % of lines covered`
    if (failed.length > 0) return { name: 'tests', outcome: 'failed', message, details: failed.map(nameOf) }
    return coverage.coverage < minCoverage
      ? { name: 'tests', outcome: 'failed', message: `${message}; ${minCoverage} % must be` }
      : { name: 'tests', outcome: 'passed', message }
  } catch (thrown) {
    const { findings, message } = toPdpError(thrown)
    return { name: 'tests', outcome: 'failed', message, details: findings.map(formatFinding) }
  }
}

function nameOf(result: RegoTestResult): string {
  return `${result.package}.${result.name}`
}

async function inThread(
  name: string,
  candidate: Bundle,
  active: Bundle | undefined,
  rules: BundleRules,
  { toolchain, runtimeJson, limits, trustedKey, recordsFolder }: GateOptions,
): Promise<GateAnswer> {
  const [module, { builtins }] = await Promise.all([toolchain.module(), toolchain.about()])
  const data: GateWorkerData = {
    toolchain: module,
    builtins,
    runtimeJson,
    limits: { maxSteps: limits.maxSteps, maxMemoryBytes: limits.maxMemoryBytes },
    trustedKey,
    candidate: subjectOf(candidate),
    defaultEntrypoint: rules.defaultEntrypoint ?? candidate.manifest.metadata.default_entrypoint,
    active: active && subjectOf(active),
    vectors: candidate.vectors,
    recordsFolder,
    bundle: name,
    replay: rules.gate.replay,
    maxFlips: rules.gate.maxFlips,
  }
  const worker = startWorker('./gate-worker', data)
  worker.ref()
  let timer: NodeJS.Timeout | undefined
  try {
    return await new Promise<GateAnswer>((resolve, reject) => {
      const seconds = rules.gate.timeoutMs / 1_000
      timer = setTimeout(() => reject(new PdpError('ERR_POLICY_INVALID', `the checks took longer than ${seconds} s`)), rules.gate.timeoutMs)
      worker.once('message', resolve)
      worker.once('error', reject)
      worker.once('exit', () => reject(new PdpError('ERR_INTERNAL', 'the thread of the checks ended early')))
    })
  } catch (thrown) {
    return { checks: [{ name: 'module', outcome: 'failed', message: (thrown as Error).message }], replay: undefined, module: undefined }
  } finally {
    clearTimeout(timer)
    void worker.terminate()
  }
}

function subjectOf({ wasm, data }: Bundle): GateSubject {
  return { wasm, data }
}
