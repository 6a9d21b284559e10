// OPA's Data API in texts: what its bodies ask, and what its answers hold. The result is the text that the policy
// wrote. Paths are looked up among the entrypoints and never become part of a query.
// @see https://www.openpolicyagent.org/docs/rest-api#data-api
import type { RecordedDecision } from '../../decision/decision.ts'
import { membersOf } from '../../decision/json-text.ts'
import type { DecisionRequest, JsonText } from '../../decision/request.ts'
import { type JsonLimits, parseStrictJson } from '../../decision/strict-json.ts'
import { PdpError } from '../../errors.ts'
import { httpStatus } from './status.ts'

export interface OpaQuestion {
  /** As the policy will see it; undefined: no input at all. */
  readonly input: JsonText | undefined
  /** `package/rule`; undefined: the default entrypoint. */
  readonly path: string | undefined
}

/** What an answer has beside the result. */
export interface OpaAnswerOptions {
  /** Given: with provenance. */
  readonly version?: string
  /** Given: with metrics. */
  readonly handlerNs?: bigint
  /** Whether a trace was asked for. */
  readonly explained?: boolean
}

/** An answer in OPA's terms. */
export interface OpaAnswer {
  readonly status: 200 | 403 | 404 | 500 | 503
  readonly body: string
}

/**
 * The input of a v1 body.
 * @param text undefined or empty: no body
 * @throws PdpError as parseStrictJson; ERR_INVALID_REQUEST
 */
export function inputOfBody(text: string | undefined, limits: JsonLimits): JsonText | undefined {
  if (text === undefined || text.trim() === '') return undefined
  const { value, members } = parseStrictJson(text, limits)
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new PdpError('ERR_INVALID_REQUEST', 'the body must be a JSON object with the member `input`')
  }
  const input = members.get('input')
  // OPA's server does not tell null from nothing here.
  return input === 'null' ? undefined : input
}

/** A text that is the input itself: a v0 body, or the parameter of a v1 GET. @throws PdpError as parseStrictJson */
export function inputOfText(text: string | undefined, limits: JsonLimits): JsonText | undefined {
  return text === undefined || text.trim() === '' ? undefined : parseStrictJson(text, limits).text.trim()
}

/** For the record: subject, action and resource where the input has them in AuthZEN's terms. */
export function partsOf(input: JsonText | undefined): Pick<DecisionRequest, 'subject' | 'action' | 'resource'> {
  const members = input?.startsWith('{') === true ? membersOf(input) : undefined
  return { subject: members?.get('subject'), action: members?.get('action'), resource: members?.get('resource') }
}

/** `{"result": …}`, without a result where there is none. */
export function toV1Answer(decision: RecordedDecision, path: string, options: OpaAnswerOptions): OpaAnswer {
  const failure = failureOf(decision)
  if (failure !== undefined) return failure
  const parts = [`"decision_id":"${decision.id}"`]
  if (options.explained === true) parts.push(`"explanation":${JSON.stringify((decision.explanation ?? '').split('\n').filter(Boolean))}`)
  if (options.handlerNs !== undefined)
    parts.push(`"metrics":{"counter_verdict_steps":${decision.steps},"timer_server_handler_ns":${options.handlerNs}}`)
  if (options.version !== undefined) parts.push(`"provenance":${provenanceOf(decision, options.version)}`)
  if (isUnknown(decision)) {
    const message = `\`${path.slice(0, 128)}\` is no entrypoint of the bundle: only entrypoints are answered`
    parts.push(`"warning":${JSON.stringify({ code: 'api_usage_warning', message })}`)
  } else if (decision.result !== undefined) parts.push(`"result":${decision.result}`)
  return { status: 200, body: `{${parts.join(',')}}` }
}

/** The value itself; 404 where there is none. */
export function toV0Answer(decision: RecordedDecision, path: string | undefined): OpaAnswer {
  const failure = failureOf(decision)
  if (failure !== undefined) return failure
  if (decision.result !== undefined) return { status: 200, body: decision.result }
  const document = path === undefined ? 'the default decision' : `data.${path.slice(0, 128).replaceAll('/', '.')}`
  return { status: 404, body: opaError('undefined_document', `document missing or undefined: ${document}`) }
}

/** The body of every answer that is no result. */
export function opaError(code: string, message: string, reason?: string): string {
  return JSON.stringify({ code, message, ...(reason !== undefined && { errors: [{ code: reason, message }] }) })
}

/** What OPA calls a failure, by our code and the status of the answer. */
export function opaCodeOf(status: number): string {
  return opaCodes[status] ?? (status < 500 ? 'invalid_parameter' : 'internal_error')
}

const opaCodes: Readonly<Record<number, string>> = {
  401: 'unauthorized',
  403: 'unauthorized',
  404: 'resource_not_found',
  503: 'unavailable',
}

export function isUnknown({ error }: RecordedDecision): boolean {
  return error?.code === 'ERR_UNKNOWN_ENTRYPOINT' || error?.code === 'ERR_ENTRYPOINT_REQUIRED' || error?.code === 'ERR_UNKNOWN_BUNDLE'
}

/** The answer where the policy gave none; undefined: it did, or there is no such policy. */
export function failureOf(decision: RecordedDecision): OpaAnswer | undefined {
  const { error } = decision
  if (error === undefined || isUnknown(decision)) return undefined
  // Whoever is isolated is no failure of the service.
  const isIsolated = error.code === 'ERR_REVOKED' || error.code === 'ERR_QUARANTINED'
  const status = isIsolated ? 403 : httpStatus[error.code] === 503 ? 503 : 500
  return { status, body: opaError(opaCodeOf(status), error.message, error.code) }
}

function provenanceOf({ policy }: RecordedDecision, version: string): string {
  const bundles = policy === undefined ? {} : { [policy.bundle]: { revision: policy.revision } }
  return JSON.stringify({ version, build_commit: '', build_timestamp: '', build_host: '', bundles })
}
