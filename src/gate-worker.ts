// The thread of the gate: a candidate is compiled, loaded and asked here, so that nothing that it does is felt by requests.
// One candidate for each thread, which ends with its answer: a GateAnswer.
import { parentPort, workerData } from 'node:worker_threads'
import { type ReplayableRecord, recentRecords } from './audit/recent-records.ts'
import type { Check, Flip, Replay } from './bundles/gate-report.ts'
import { type PdpError, toPdpError } from './errors.ts'
import { type AskedOutcome, askOutcome } from './policy/ask-outcome.ts'
import { PolicyInstance } from './policy/policy-instance.ts'
import type { PolicyLimits } from './policy/policy-limits.ts'
import { compilePolicyModule, type PolicyModule } from './policy/policy-module.ts'
import { withTrusted } from './policy/trusted-input.ts'
import { CallAnswers } from './policy/varying-calls.ts'
import { ReactorHost } from './rego/reactor-host.ts'

/** What is evaluated. */
export interface GateSubject {
  readonly wasm: Uint8Array
  /** JSON text. */
  readonly data: string
}

export interface GateWorkerData {
  readonly toolchain: WebAssembly.Module
  readonly builtins: readonly string[]
  readonly runtimeJson: string
  readonly limits: PolicyLimits
  readonly trustedKey: string
  readonly candidate: GateSubject
  readonly defaultEntrypoint: string | undefined
  /** What answers now; undefined: nothing does. */
  readonly active: GateSubject | undefined
  /** JSON text of the bundle's own questions and answers; undefined: it brings none. */
  readonly vectors: string | undefined
  readonly recordsFolder: string
  readonly bundle: string
  readonly replay: number
  readonly maxFlips: number
}

export interface GateAnswer {
  /** The candidate, compiled; undefined where it is none. */
  readonly module: PolicyModule | undefined
  readonly checks: readonly Check[]
  readonly replay: Replay | undefined
}

/** Flips that a report lists. */
const maxExamples = 100

const data = workerData as GateWorkerData
parentPort?.postMessage(await examine())

async function examine(): Promise<GateAnswer> {
  const host = new ReactorHost(data.toolchain, new Set(data.builtins), data.runtimeJson)
  const checks: Check[] = []
  let candidate: PolicyInstance
  let module: PolicyModule
  try {
    module = await compilePolicyModule(data.candidate.wasm)
    candidate = new PolicyInstance(module, data.candidate.data, host, data.limits)
    checks.push(checkModule(candidate))
  } catch (thrown) {
    return { checks: [{ name: 'module', outcome: 'failed', message: textOf(toPdpError(thrown)) }], replay: undefined, module: undefined }
  }
  checks.push(checkVectors(candidate))
  if (data.active === undefined || data.replay === 0) {
    const message = data.replay === 0 ? 'not configured' : 'nothing is active to compare with'
    return { checks: [...checks, { name: 'replay', outcome: 'skipped', message }], replay: undefined, module }
  }
  const replay = replayRecords(await load(data.active, host), candidate)
  return { checks: [...checks, judge(replay)], replay, module }
}

async function load({ wasm, data: text }: GateSubject, host: ReactorHost): Promise<PolicyInstance> {
  return new PolicyInstance(await compilePolicyModule(wasm), text, host, data.limits)
}

/** It runs: every entrypoint gives an answer to an empty question, or says that it has none. */
function checkModule(candidate: PolicyInstance): Check {
  const paths = [...candidate.entrypoints.keys()]
  const { defaultEntrypoint } = data
  if (defaultEntrypoint !== undefined && !candidate.entrypoints.has(defaultEntrypoint)) {
    return { name: 'module', outcome: 'failed', message: `the default entrypoint \`${defaultEntrypoint}\` does not exist` }
  }
  const failures = paths.flatMap((path) => {
    const { error } = askOutcome(candidate, path, '{}', 0)
    return error === undefined ? [] : [`${path}: ${textOf(error)}`]
  })
  const mib = Math.ceil(candidate.memoryBytes / 2 ** 20)
  return failures.length > 0
    ? { name: 'module', outcome: 'failed', message: 'entrypoints fail when they are asked', details: failures }
    : { name: 'module', outcome: 'passed', message: `${paths.length} entrypoint${paths.length === 1 ? '' : 's'}, ${mib} MiB of memory` }
}

interface Vector {
  readonly name?: unknown
  readonly entrypoint?: unknown
  readonly decision?: unknown
}

/** Questions with the answers that they must get. */
function checkVectors(candidate: PolicyInstance): Check {
  if (data.vectors === undefined) return { name: 'vectors', outcome: 'skipped', message: 'the bundle brings no decisions.json' }
  let vectors: readonly Vector[]
  try {
    vectors = JSON.parse(data.vectors)
    if (!Array.isArray(vectors)) throw new SyntaxError('it must be a list')
  } catch (cause) {
    return { name: 'vectors', outcome: 'failed', message: `decisions.json: ${(cause as Error).message}` }
  }
  const failures = vectors.flatMap((vector, i) => {
    const entrypoint = vector.entrypoint ?? data.defaultEntrypoint ?? [...candidate.entrypoints.keys()][0]
    const { outcome, error } = askOutcome(candidate, String(entrypoint), JSON.stringify((vector as { input?: unknown }).input ?? {}), 0)
    if (typeof vector.decision === 'boolean' && error === undefined && (outcome === 'allow') === vector.decision) return []
    return [
      `${String(vector.name ?? `number ${i + 1}`)}: ${error === undefined ? outcome : textOf(error)}, not ${vector.decision === true ? 'allow' : 'deny'}`,
    ]
  })
  const message = `${vectors.length - failures.length} of ${vectors.length} decisions as decisions.json says`
  return { name: 'vectors', outcome: failures.length > 0 ? 'failed' : 'passed', message, details: failures.slice(0, maxExamples) }
}

function replayRecords(active: PolicyInstance, candidate: PolicyInstance): Replay {
  const { records, passedOver } = recentRecords(data.recordsFolder, data.bundle, data.replay)
  const flips: Record<string, number> = {}
  const examples: Flip[] = []
  let replayed = 0
  for (const record of records) {
    const before = askAgain(active, record)
    const after = askAgain(candidate, record)
    if (before === undefined || after === undefined) continue
    replayed++
    if (before === after) continue
    const kind = `${before} → ${after}`
    flips[kind] = (flips[kind] ?? 0) + 1
    const { id, subject, action, resource, entrypoint } = record
    if (examples.length < maxExamples) examples.push({ id, subject, action, resource, entrypoint, before, after })
  }
  return { replayed, passedOver: passedOver + records.length - replayed, flips, examples }
}

function judge({ replayed, flips }: Replay): Check {
  const count = Object.values(flips).reduce((sum, one) => sum + one, 0)
  const kinds = Object.entries(flips).map(([kind, one]) => `${one} × ${kind}`)
  const message =
    count === 0
      ? `${replayed} recorded decisions, none changes`
      : `${count} of ${replayed} recorded decisions change (${kinds.join(', ')}); ${data.maxFlips} may without approval`
  return { name: 'replay', outcome: count > data.maxFlips ? 'held' : 'passed', message }
}

/** @returns undefined where the policy asks something of the world that the record has no answer to */
function askAgain(instance: PolicyInstance, record: ReplayableRecord): AskedOutcome['outcome'] | undefined {
  const { entrypoint, input, trusted, timeMs, nd } = record
  const answers = new CallAnswers(nd)
  const { outcome } = askOutcome(instance, entrypoint, withTrusted(input, data.trustedKey, trusted), timeMs, answers)
  return answers.isMissing ? undefined : outcome
}

function textOf({ code, message }: PdpError): string {
  return `${code}: ${message}`
}
