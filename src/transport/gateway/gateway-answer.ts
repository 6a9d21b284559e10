// What every gateway door answers: whatever is no allow is a deny in a form that the gateway understands, never a failure that
// it could take for a reason to let the request pass.
import type { RecordedDecision } from '../../decision/decision.ts'
import type { PdpError } from '../../errors.ts'
import { type GatewayResult, readGatewayResult } from './gateway-result.ts'

export interface GatewayAnswer {
  readonly allowed: boolean
  /** Of a deny: what the client gets. 401 only where the subject's token is invalid, or the policy says so. */
  readonly status: number
  readonly result: GatewayResult
  /** Set where the policy has no part in the answer. */
  readonly error: PdpError | undefined
  /** ID of the record; empty where there is none. */
  readonly decisionId: string
}

const nothing = readGatewayResult(undefined)

export function toGatewayAnswer(decision: RecordedDecision): GatewayAnswer {
  const { error, id } = decision
  if (error !== undefined) return { ...refusal(error), decisionId: id }
  const result = readGatewayResult(decision.result)
  const allowed = decision.outcome === 'allow'
  // A deny that looks like a success would be one at the gateways that go by the status.
  const status = allowed ? 200 : result.httpStatus !== undefined && result.httpStatus >= 300 ? result.httpStatus : 403
  return { allowed, status, result, error: undefined, decisionId: id }
}

/** The answer where nothing was decided. */
export function refusal(error: PdpError): GatewayAnswer {
  return { allowed: false, status: error.code === 'ERR_TOKEN_INVALID' ? 401 : 403, result: nothing, error, decisionId: '' }
}
