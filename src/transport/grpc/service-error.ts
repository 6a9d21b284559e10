// Failures as gRPC statuses: the code of the closed list at the front of the message, logged, never with a cause or a secret.
import { status as grpc, Metadata, type ServiceError } from '@grpc/grpc-js'
import type { Decision } from '../../decision/decision.ts'
import type { PdpError } from '../../errors.ts'
import { grpcStatus } from './status.ts'

/** What of a logger is used here. */
export interface CallLog {
  error(facts: object, message: string): void
  info(facts: object, message: string): void
}

/** The error that a call ends in; undefined: the answer is a decision. */
export function isCallError({ error }: Decision): PdpError | undefined {
  return error !== undefined && grpcStatus[error.code] !== grpc.OK ? error : undefined
}

/** The status that a call ends with; what failed is logged. */
export function toServiceError(error: PdpError, correlationId: string, path: string, log: CallLog): Partial<ServiceError> {
  const known = grpcStatus[error.code]
  const code = known === grpc.OK ? grpc.INTERNAL : known
  const facts = { code: error.code, correlation_id: correlationId, path, status: grpc[code] }
  if (code === grpc.INTERNAL || code === grpc.UNAVAILABLE) {
    log.error({ ...facts, cause: error.cause instanceof Error ? error.cause.stack : undefined }, error.message)
  } else log.info(facts, `refused: ${error.message}`)
  const metadata = new Metadata()
  metadata.set('x-request-id', correlationId)
  return { code, details: `${error.code}: ${error.message}`, metadata }
}
