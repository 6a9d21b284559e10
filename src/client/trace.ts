// What a request brought that belongs to its trace and to its log lines, for the questions that it leads to.
import type { CallOptions } from './client.ts'

/** @param headers by name in lower case */
export function traceOf(headers: Readonly<Record<string, unknown>>): CallOptions {
  const { traceparent, tracestate, 'x-request-id': correlationId } = headers
  return {
    ...(typeof traceparent === 'string' && { traceparent }),
    ...(typeof tracestate === 'string' && { tracestate }),
    ...(typeof correlationId === 'string' && { correlationId }),
  }
}
