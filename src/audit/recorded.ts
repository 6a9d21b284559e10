// The outermost decider: every answer gets an ID and a record, and every failure becomes an answer.
// Nothing leaves without a record: while the log cannot be written, the answer is an error that denies.
import { randomUUID } from 'node:crypto'
import type { Decider, RecordedDecider } from '../decision/decider.ts'
import type { Decision, RecordedDecision } from '../decision/decision.ts'
import type { DecisionRequest } from '../decision/request.ts'
import { PdpError, toPdpError } from '../errors.ts'
import type { DecisionLog } from './decision-log.ts'
import type { RecordWriter } from './decision-record.ts'

/** @param onInternalError told of causes that no answer shows */
export function recorded(
  inner: Decider,
  log: DecisionLog,
  write: RecordWriter,
  onInternalError: (error: PdpError) => void,
): RecordedDecider {
  return {
    decide(request: DecisionRequest): RecordedDecision | Promise<RecordedDecision> {
      if (!log.available) return unrecorded(randomUUID())
      if (request.fault !== undefined) return record(request, failed(request.fault), 0)
      const started = performance.now()
      try {
        const decided = inner.decide(request)
        if (!(decided instanceof Promise)) return record(request, decided, started)
        return decided.then(
          (decision) => record(request, decision, started),
          (thrown: unknown) => record(request, failed(toPdpError(thrown)), started),
        )
      } catch (thrown) {
        return record(request, failed(toPdpError(thrown)), started)
      }
    },
  }

  function record(request: DecisionRequest, decided: Decision, started: number): RecordedDecision | Promise<RecordedDecision> {
    const error = decided.error === undefined ? request.refuse?.(decided) : undefined
    const decision: Decision = error === undefined ? decided : { ...decided, outcome: 'error', error }
    const durationUs = started === 0 ? 0 : Math.round((performance.now() - started) * 1_000)
    const recorded: RecordedDecision = { ...decision, id: randomUUID() }
    if (decision.error?.code === 'ERR_INTERNAL') onInternalError(decision.error)
    const kept = log.append(write(request, recorded, log.nextSeq(), durationUs))
    return kept === undefined
      ? recorded
      : kept.then(
          () => recorded,
          () => unrecorded(recorded.id),
        )
  }
}

function unrecorded(id: string): RecordedDecision {
  return { ...failed(new PdpError('ERR_LOG_UNAVAILABLE', 'the decision log cannot be written')), id }
}

function failed(error: PdpError): Decision {
  return { outcome: 'error', error, maxAgeMs: 0, cached: false, steps: 0 }
}
