// What the gate found out about a candidate, and how it reads for people. Not the checks themselves.
import type { Decision } from '../decision/decision.ts'

export type CheckName = 'signature' | 'memory' | 'module' | 'types' | 'tests' | 'vectors' | 'replay'

export interface Check {
  readonly name: CheckName
  /** `held`: nothing is wrong, and somebody has to look at it. */
  readonly outcome: 'passed' | 'failed' | 'held' | 'skipped'
  readonly message: string
  readonly details?: readonly string[]
}

/** A recorded decision that the candidate would give otherwise. */
export interface Flip {
  /** ID of its record. */
  readonly id: string
  readonly subject: string
  readonly action: string
  readonly resource: string
  readonly entrypoint: string
  readonly before: Outcome
  readonly after: Outcome
}

type Outcome = Decision['outcome']

export interface Replay {
  /** Recorded decisions that were asked again. */
  readonly replayed: number
  /** Those that could not be: masked or truncated, or without an answer of the world that a policy asks for. */
  readonly passedOver: number
  /** By `before → after`. */
  readonly flips: Readonly<Record<string, number>>
  /** The first of them, newest first. */
  readonly examples: readonly Flip[]
}

export interface GateReport {
  readonly outcome: 'passed' | 'held' | 'rejected'
  readonly checks: readonly Check[]
  readonly replay?: Replay | undefined
  readonly tookMs: number
}

export function toReport(checks: readonly Check[], replay: Replay | undefined, tookMs: number): GateReport {
  const has = (outcome: Check['outcome']) => checks.some((check) => check.outcome === outcome)
  return { outcome: has('failed') ? 'rejected' : has('held') ? 'held' : 'passed', checks, replay, tookMs: Math.round(tookMs) }
}

/** One line for each check, details below it. */
export function reportLines({ checks, replay }: GateReport): string[] {
  const lines: string[] = []
  for (const { name, outcome, message, details } of checks) {
    lines.push(`${outcome.padEnd(7)} ${name}: ${message}`)
    for (const detail of details ?? []) lines.push(`          ${detail}`)
  }
  for (const flip of replay?.examples ?? []) lines.push(`          ${flipLine(flip)}`)
  return lines
}

export function flipLine({ id, subject, action, resource, entrypoint, before, after }: Flip): string {
  return `${before} → ${after}: ${subject} ${action} ${resource} (${entrypoint}, decision ${id})`
}

/** The gate in a few words, for the table of acts. */
export function summaryOf(report: GateReport): string {
  const first = report.checks.find(({ outcome }) => outcome === 'failed') ?? report.checks.find(({ outcome }) => outcome === 'held')
  return first === undefined ? 'passed' : `${report.outcome}: ${first.name}: ${first.message}`
}
