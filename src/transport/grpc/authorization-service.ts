// envoy.service.auth.v3.Authorization: every call ends in OK, and what the answer is stands in its message.
// @see https://www.envoyproxy.io/docs/envoy/latest/api-v3/service/auth/v3/external_auth.proto

import type { RecordedDecider } from '../../decision/decider.ts'
import type { RecordedDecision } from '../../decision/decision.ts'
import { type PdpError, toPdpError } from '../../errors.ts'
import { childSpan } from '../../telemetry/trace-context.ts'
import type { Admission } from '../admission.ts'
import { correlationId } from '../correlation.ts'
import type { RequestFacts } from '../decide.ts'
import type { DecideLimits } from '../decide-request.ts'
import { toEnvoyInput } from '../gateway/envoy-input.ts'
import { type GatewayAnswer, refusal, toGatewayAnswer } from '../gateway/gateway-answer.ts'
import type { GatewayOptions } from '../gateway/gateway-options.ts'
import { refuseUnusable } from '../gateway/gateway-result.ts'
import { identifiedRoute, toRouteParts } from '../gateway/route-question.ts'
import { subjectTokenOf } from '../gateway/subject-token.ts'
import type { Call, UnaryAnswer, UnaryMethod } from './call.ts'
import type { CallLog } from './call-status.ts'
import { readCheckRequest } from './check-request.ts'
import { writeCheckResponse } from './check-response.ts'
import { factsOf, whenKnown } from './peer.ts'
import { grpcStatus } from './status.ts'

export interface AuthorizationServiceOptions {
  readonly decider: RecordedDecider
  readonly limits: DecideLimits
  readonly decideScope: Admission | undefined
  readonly gateways: GatewayOptions
  readonly log: CallLog
}

export const authorizationServiceName = 'envoy.service.auth.v3.Authorization'

const invalidArgument = 3

export function createAuthorizationService(options: AuthorizationServiceOptions): { readonly Check: UnaryMethod } {
  const { decider, decideScope, gateways, log } = options
  // A request's body may have any key: it is passed on, never looked up by them.
  const limits = { ...options.limits, forbidPrototypeKeys: false }
  return { Check }

  function Check(message: Buffer, call: Call): UnaryAnswer | Promise<UnaryAnswer> {
    let id = ''
    const refuse = (thrown: unknown): UnaryAnswer => {
      const error = toPdpError(thrown)
      const cause = (error.cause as Error | undefined)?.message
      log.info({ code: error.code, correlation_id: id, path: call.path, cause }, `refused: ${error.message}`)
      return answerOf(refusal(error))
    }
    const done = (decision: RecordedDecision): UnaryAnswer => answerOf(toGatewayAnswer(decision))
    try {
      const decision = whenKnown(factsOf(call, '', 'envoy', decideScope), ask)
      return decision instanceof Promise ? decision.then(done).catch(refuse) : done(decision)
    } catch (thrown) {
      return refuse(thrown)
    }

    function ask(peer: RequestFacts): RecordedDecision | Promise<RecordedDecision> {
      const request = readCheckRequest(message, { limits, members: 0 })
      id = correlationId(request.headers.get('x-request-id'))
      const { input, target } = toEnvoyInput(request, { limits, passTruncated: gateways.passTruncated })
      const { principal, method, host, ip } = request
      const token = gateways.verifiesTokens ? subjectTokenOf(request.headers.get('authorization')) : undefined
      const parts = toRouteParts({ principal, method, scheme: request.scheme || 'http', host, target, ip })
      return decider.decide({
        ...peer,
        ...parts,
        ...gateways.policy(),
        correlationId: id,
        trace: childSpan(request.headers.get('traceparent'), request.headers.get('tracestate')),
        timeMs: Date.now(),
        input,
        token,
        // Who came by a certificate stays the subject; the token's is known beside it.
        identified: principal === undefined ? identifiedRoute : () => ({}),
        refuse: refuseUnusable,
      })
    }
  }
}

/** The ID of the request is Envoy's own and is not said again. */
function answerOf(answer: GatewayAnswer): UnaryAnswer {
  return { requestId: '', message: writeAnswer(answer) }
}

function writeAnswer({ allowed, status, result, error, decisionId }: GatewayAnswer): Uint8Array {
  return writeCheckResponse({
    status: allowed ? 0 : error?.code === 'ERR_TOKEN_INVALID' ? 16 : 7,
    httpStatus: error !== undefined && decisionId === '' && isMalformed(error) ? 400 : status,
    message: error === undefined ? '' : `${error.code}: ${error.message}`,
    result,
    decisionId,
  })
}

/** What is wrong with the request itself, by the table of this transport. */
function isMalformed({ code }: PdpError): boolean {
  return grpcStatus[code] === invalidArgument || code === 'ERR_BODY_TOO_LARGE'
}
