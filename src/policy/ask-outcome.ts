// What one entrypoint of a policy decides, for candidates that nobody hears: the gate's and the shadow's. Never throws.
import type { Decision } from '../decision/decision.ts'
import { readResult } from '../decision/read-result.ts'
import type { JsonText } from '../decision/request.ts'
import { PdpError, toPdpError } from '../errors.ts'
import type { PolicyInstance } from './policy-instance.ts'
import type { CallAnswers } from './varying-calls.ts'

export interface AskedOutcome {
  readonly outcome: Decision['outcome']
  /** Set exactly when the outcome is `error`. */
  readonly error?: PdpError
}

export function askOutcome(
  instance: PolicyInstance,
  path: string,
  input: JsonText | undefined,
  timeMs: number,
  answers?: CallAnswers,
): AskedOutcome {
  const entrypoint = instance.entrypoints.get(path)
  if (entrypoint === undefined) {
    return { outcome: 'error', error: new PdpError('ERR_UNKNOWN_ENTRYPOINT', `there is no entrypoint \`${path}\``) }
  }
  try {
    return { outcome: readResult(instance.evaluate(entrypoint, input, timeMs, false, answers).result).allowed ? 'allow' : 'deny' }
  } catch (thrown) {
    return { outcome: 'error', error: toPdpError(thrown) }
  }
}
