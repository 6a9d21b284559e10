// Failures as gRPC statuses: the code of the closed list at the front of the message, logged, never with a cause or a secret.
import { status as grpc } from '@grpc/grpc-js'
import type { Decision } from '../../decision/decision.ts'
import type { PdpError } from '../../errors.ts'
import { grpcStatus } from './status.ts'

/** What of a logger is used here. */
export interface CallLog {
  error(facts: object, message: string): void
  info(facts: object, message: string): void
}

/** Who hears of calls. */
export interface CallNews {
  readonly log: CallLog
  /** Told of each call of one message: its path, its status, and how long it took. Milliseconds. */
  readonly onAnswered: (path: string, status: grpc, ms: number) => void
}

/** The error that a call ends in; undefined: the answer is a decision. */
export function isCallError({ error }: Decision): PdpError | undefined {
  return error !== undefined && grpcStatus[error.code] !== grpc.OK ? error : undefined
}

/** How a call ends that has no answer. */
export interface CallStatus {
  readonly code: grpc
  readonly details: string
  readonly requestId: string
  /** For the client's next proof. */
  readonly nonce: string | undefined
}

/** The status that a call ends with; what failed is logged. */
export function toCallStatus(error: PdpError, correlationId: string, path: string, log: CallLog): CallStatus {
  const known = grpcStatus[error.code]
  const code = known === grpc.OK ? grpc.INTERNAL : known
  const facts = { code: error.code, correlation_id: correlationId, path, status: grpc[code] }
  if (code === grpc.INTERNAL || code === grpc.UNAVAILABLE) {
    log.error({ ...facts, cause: error.cause instanceof Error ? error.cause.stack : undefined }, error.message)
  } else log.info(facts, `refused: ${error.message}`)
  // Half a surrogate pair cannot be sent.
  return { code, details: `${error.code}: ${error.message}`.toWellFormed(), requestId: correlationId, nonce: error.challenge?.nonce }
}
