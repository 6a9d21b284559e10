// envoy.service.auth.v3.Authorization: every call ends in OK, and what the answer is stands in its message.
// @see https://www.envoyproxy.io/docs/envoy/latest/api-v3/service/auth/v3/external_auth.proto
import type { ServerUnaryCall, sendUnaryData, UntypedServiceImplementation } from '@grpc/grpc-js'
import type { RecordedDecider } from '../../decision/decider.ts'
import { type PdpError, toPdpError } from '../../errors.ts'
import { childSpan } from '../../telemetry/trace-context.ts'
import type { TokenVerifier } from '../bearer.ts'
import { correlationId } from '../correlation.ts'
import type { DecideLimits } from '../decide-request.ts'
import { toEnvoyInput } from '../gateway/envoy-input.ts'
import { type GatewayAnswer, refusal, toGatewayAnswer } from '../gateway/gateway-answer.ts'
import type { GatewayOptions } from '../gateway/gateway-options.ts'
import { refuseUnusable } from '../gateway/gateway-result.ts'
import { toRouteParts } from '../gateway/route-question.ts'
import { readCheckRequest } from './check-request.ts'
import { writeCheckResponse } from './check-response.ts'
import { factsOf } from './peer.ts'
import type { CallLog } from './service-error.ts'
import { grpcStatus } from './status.ts'

export interface AuthorizationServiceOptions {
  readonly decider: RecordedDecider
  readonly limits: DecideLimits
  readonly verifyDecide: TokenVerifier | undefined
  readonly gateways: GatewayOptions
  readonly log: CallLog
}

export const authorizationServiceName = 'envoy.service.auth.v3.Authorization'

const invalidArgument = 3

export function createAuthorizationService(options: AuthorizationServiceOptions): UntypedServiceImplementation {
  const { decider, verifyDecide, gateways, log } = options
  // A request's body may have any key: it is passed on, never looked up by them.
  const limits = { ...options.limits, forbidPrototypeKeys: false }
  return {
    Check(call: ServerUnaryCall<Buffer, Uint8Array>, done: sendUnaryData<Uint8Array>): void {
      const answer = (given: GatewayAnswer) => done(null, writeAnswer(given))
      const refuse = (thrown: unknown, id: string) => {
        const error = toPdpError(thrown)
        log.info(
          { code: error.code, correlation_id: id, path: call.getPath(), cause: (error.cause as Error | undefined)?.message },
          `refused: ${error.message}`,
        )
        answer(refusal(error))
      }
      let id = ''
      try {
        const peer = factsOf(call, '', 'envoy', verifyDecide)
        const request = readCheckRequest(call.request, { limits, members: 0 })
        id = correlationId(request.headers.get('x-request-id'))
        const { input, target } = toEnvoyInput(request, { limits, passTruncated: gateways.passTruncated })
        const { principal, method, host, ip } = request
        const parts = toRouteParts({ principal, method, scheme: request.scheme || 'http', host, target, ip })
        const decision = decider.decide({
          ...peer,
          ...parts,
          ...gateways.policy(),
          correlationId: id,
          trace: childSpan(request.headers.get('traceparent')),
          timeMs: Date.now(),
          input,
          refuse: refuseUnusable,
        })
        if (decision instanceof Promise)
          decision.then(
            (decided) => answer(toGatewayAnswer(decided)),
            (thrown: unknown) => refuse(thrown, id),
          )
        else answer(toGatewayAnswer(decision))
      } catch (thrown) {
        refuse(thrown, id)
      }
    },
  }
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
