// Failures as HTTP answers: `{"error":{code,message,correlation_id}}`, logged, never with a cause or a secret.
import type { PdpError, PdpErrorCode } from '../../errors.ts'
import { httpStatus, retryAfterS } from './status.ts'

export interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/** Of every answer that is JSON and about one request. */
export const jsonHeaders = { 'content-type': 'application/json; charset=utf-8', 'cache-control': 'no-store' } as const

export type Statuses = Readonly<Partial<Record<PdpErrorCode, number>>>

/** What of a logger is used here. */
export interface AnswerLog {
  error(facts: object, message: string): void
  info(facts: object, message: string): void
}

/**
 * The answer to a request that failed; what failed is logged.
 * @param statuses where a protocol has others than httpStatus
 */
export function errorAnswer(error: PdpError, correlationId: string, method: string, log: AnswerLog, statuses: Statuses = {}): Answer {
  const known = statuses[error.code] ?? httpStatus[error.code]
  const status = known === 200 ? 500 : known
  const facts = { code: error.code, correlation_id: correlationId, method, status }
  if (status >= 500) log.error({ ...facts, cause: causeOf(error) }, error.message)
  else log.info(facts, `refused: ${error.message}`)
  return {
    status,
    headers: {
      ...jsonHeaders,
      ...(status === 503 && { 'retry-after': String(retryAfterS) }),
      ...(status === 401 && { 'www-authenticate': error.challenge?.authenticate ?? 'Bearer' }),
      ...(error.challenge?.nonce !== undefined && { 'dpop-nonce': error.challenge.nonce }),
    },
    body: errorText(error, correlationId),
  }
}

export function errorText(error: PdpError, correlationId: string): string {
  return JSON.stringify({ error: { code: error.code, message: error.message, correlation_id: correlationId } })
}

function causeOf(error: PdpError): string | undefined {
  return error.cause instanceof Error ? (error.cause.stack ?? error.cause.message) : undefined
}
