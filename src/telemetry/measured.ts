// A decider that counts what is answered, and tells of decisions whose caller samples its trace. Adds nothing to a decision.
import type { RecordedDecider } from '../decision/decider.ts'
import type { PolicyIdentity, RecordedDecision } from '../decision/decision.ts'
import type { DecisionRequest } from '../decision/request.ts'
import { boundsOf, type Cell, type Metrics, record } from './metrics.ts'

/** Takes what becomes a span; `startMs`, `endMs`: milliseconds since 1970. */
export type SpanSink = (request: DecisionRequest, decision: RecordedDecision, startMs: number, endMs: number) => void

interface PolicyCells {
  readonly outcomes: Readonly<Record<string, Cell>>
  readonly duration: Cell
  readonly steps: Cell
}

/** Of decisions that no policy made. */
const noPolicy = {}

export function measured(inner: RecordedDecider, metrics: Metrics, spans: SpanSink | undefined): RecordedDecider {
  const known = new WeakMap<object, PolicyCells>()
  const doors = new Map<string, Cell>()
  const [durationBounds, stepBounds] = [boundsOf('verdict.decision.duration'), boundsOf('verdict.decision.steps')]
  return {
    decide(request) {
      const began = performance.now()
      const decided = inner.decide(request)
      if (decided instanceof Promise) return decided.then((decision) => count(request, decision, began))
      return count(request, decided, began)
    },
  }

  function count(request: DecisionRequest, decision: RecordedDecision, began: number): RecordedDecision {
    const ms = performance.now() - began
    const { outcomes, duration, steps } = cellsOf(decision.policy)
    const { outcome, cached, error } = decision
    ;(outcomes[cached ? `${outcome} again` : outcome] as Cell).value++
    const trace = request.trace?.isSampled === true ? request.trace : undefined
    record(duration, durationBounds, ms / 1_000, trace)
    record(steps, stepBounds, decision.steps, trace)
    let door = doors.get(request.door)
    if (door === undefined) {
      door = metrics.cell('verdict.decisions.by_door', request.door)
      doors.set(request.door, door)
    }
    door.value++
    if (error !== undefined) metrics.cell('verdict.errors', error.code).value++
    if (spans !== undefined && trace !== undefined) {
      const end = Date.now()
      spans(request, decision, end - ms, end)
    }
    return decision
  }

  function cellsOf(policy: PolicyIdentity | undefined): PolicyCells {
    let cells = known.get(policy ?? noPolicy)
    if (cells === undefined) {
      const name = policy === undefined ? '' : `${policy.bundle}:${policy.entrypoint}`
      const all = ['allow', 'deny', 'error'].flatMap((outcome) => [
        [outcome, metrics.cell('verdict.decisions', outcome, name, 'false')] as const,
        [`${outcome} again`, metrics.cell('verdict.decisions', outcome, name, 'true')] as const,
      ])
      cells = {
        outcomes: Object.fromEntries(all),
        duration: metrics.cell('verdict.decision.duration', name),
        steps: metrics.cell('verdict.decision.steps', name),
      }
      known.set(policy ?? noPolicy, cells)
    }
    return cells
  }
}
