// One decision as the service takes it for its log: what it does not know itself, and nothing twice.
// @see src/transport/http/record-route.ts
import type { RecordWriter } from '../audit/decision-record.ts'
import { constantText } from '../decision/constant-text.ts'
import { toSingleLine } from '../decision/json-text.ts'
import type { JsonText } from '../decision/request.ts'

/** @returns the line, with its line break */
export const toldLine: RecordWriter = (request, decision, _seq, durationUs) => {
  const { id, policy, outcome, error, reasons, obligations, trusted, nd, cached, steps } = decision
  let line = `{"id":"${id}","time":${request.timeMs},"correlation_id":${JSON.stringify(request.correlationId)}`
  if (request.trace !== undefined) line += `,"trace_id":"${request.trace.traceId}","span_id":"${request.trace.spanId}"`
  line += member('input', request.input) + member('trusted', trusted) + member('nd', nd)
  if (policy !== undefined) line += `,"policy":${constantText(policy)}`
  line += `,"outcome":"${outcome}"`
  if (error !== undefined) line += `,"error":${toSingleLine(JSON.stringify({ code: error.code, message: error.message }))}`
  line += member('reasons', reasons) + member('obligations', obligations)
  return `${line},"cached":${cached},"steps":${steps},"duration_us":${durationUs}}\n`
}

function member(key: string, text: JsonText | undefined): string {
  return text === undefined ? '' : `,"${key}":${text}`
}
