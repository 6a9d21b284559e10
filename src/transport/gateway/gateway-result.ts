// What an entrypoint may say to a gateway beside yes and no: header fields, a status, a body. The object of opa-envoy-plugin, so
// that policies written for it run unchanged; every gateway door reads it.
// @see https://www.openpolicyagent.org/docs/envoy/primer#output-document
import type { Decision } from '../../decision/decision.ts'
import type { JsonText } from '../../decision/request.ts'
import { PdpError } from '../../errors.ts'

export type Fields = readonly (readonly [name: string, value: string])[]

export interface GatewayResult {
  /** Allowed: set on the request that goes on. Denied: set on the answer. */
  readonly headers: Fields
  readonly requestHeadersToRemove: readonly string[]
  readonly responseHeadersToAdd: Fields
  readonly queryParametersToSet: Fields
  readonly queryParametersToRemove: readonly string[]
  readonly body: string | undefined
  /** Of a deny: 300 to 599. */
  readonly httpStatus: number | undefined
  readonly dynamicMetadata: Readonly<Record<string, unknown>> | undefined
}

const none: GatewayResult = {
  headers: [],
  requestHeadersToRemove: [],
  responseHeadersToAdd: [],
  queryParametersToSet: [],
  queryParametersToRemove: [],
  body: undefined,
  httpStatus: undefined,
  dynamicMetadata: undefined,
}

type Members = Readonly<Record<string, unknown>>

/**
 * @param result the entrypoint's value
 * @throws PdpError ERR_RESULT_UNUSABLE: a gateway could not do what it says, so the answer cannot be given
 */
export function readGatewayResult(result: JsonText | undefined): GatewayResult {
  if (result?.startsWith('{') !== true) return none
  const before = known.get(result)
  if (before !== undefined) return before
  const read = readObject(JSON.parse(result) as Members)
  if (result.length <= maxKnownLength) {
    if (known.size >= maxKnown) known.clear()
    known.set(result, read)
  }
  return read
}

/** Results come again: policies have few short ones. */
const known = new Map<JsonText, GatewayResult>()
const maxKnown = 1_000
const maxKnownLength = 512

function readObject(value: Members): GatewayResult {
  return {
    headers: fieldsOf(value, 'headers', isHeader),
    requestHeadersToRemove: namesOf(value, 'request_headers_to_remove', isHeaderName),
    responseHeadersToAdd: fieldsOf(value, 'response_headers_to_add', isHeader),
    queryParametersToSet: fieldsOf(value, 'query_parameters_to_set', isParameter),
    queryParametersToRemove: namesOf(value, 'query_parameters_to_remove', (name) => isParameter(name, '')),
    body: bodyOf(value),
    httpStatus: statusOf(value),
    dynamicMetadata: metadataOf(value),
  }
}

/** For the core: what of a decision a gateway door could not put into words. */
export function refuseUnusable({ result }: Decision): PdpError | undefined {
  try {
    readGatewayResult(result)
    return undefined
  } catch (error) {
    return error as PdpError
  }
}

/** Values by name: an object whose values are texts or lists of texts, or a list of such objects. */
function fieldsOf(value: Members, key: string, isGood: (name: string, value: string) => boolean): Fields {
  const given = value[key]
  if (given === undefined || given === null) return []
  const fields: [string, string][] = []
  for (const object of Array.isArray(given) ? given : [given]) {
    if (typeof object !== 'object' || object === null || Array.isArray(object)) throw unusable(key)
    for (const [name, values] of Object.entries(object as Members)) {
      for (const one of Array.isArray(values) ? values : [values]) {
        if (typeof one !== 'string' || !isGood(name, one)) throw unusable(`${key}.${name.slice(0, 64)}`)
        fields.push([isGood === isHeader ? name.toLowerCase() : name, one])
      }
    }
  }
  return fields
}

function namesOf(value: Members, key: string, isGood: (name: string) => boolean): string[] {
  const given = value[key]
  if (given === undefined || given === null) return []
  if (!Array.isArray(given)) throw unusable(key)
  for (const name of given) if (typeof name !== 'string' || !isGood(name)) throw unusable(key)
  return given as string[]
}

function bodyOf({ body }: Members): string | undefined {
  if (body === undefined || body === null) return undefined
  if (typeof body !== 'string') throw unusable('body')
  return body
}

function statusOf({ http_status: status }: Members): number | undefined {
  if (status === undefined || status === null) return undefined
  if (typeof status !== 'number' || !Number.isInteger(status) || status < 200 || status > 599) throw unusable('http_status')
  return status
}

function metadataOf({ dynamic_metadata: metadata }: Members): Members | undefined {
  if (metadata === undefined || metadata === null) return undefined
  if (typeof metadata !== 'object' || Array.isArray(metadata)) throw unusable('dynamic_metadata')
  return metadata as Members
}

/** Fields that say how a message is framed or where it goes: a policy that could set them could smuggle a request. */
const framing = new Set([
  'host',
  'connection',
  'content-length',
  'transfer-encoding',
  'te',
  'trailer',
  'upgrade',
  'keep-alive',
  'proxy-connection',
])

function isHeaderName(name: string): boolean {
  return /^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,256}$/.test(name) && !framing.has(name.toLowerCase())
}

function isHeader(name: string, value: string): boolean {
  return isHeaderName(name) && /^[\t\x20-\x7e]{0,8192}$/.test(value)
}

function isParameter(name: string, value: string): boolean {
  return name.length > 0 && name.length <= 1_024 && value.length <= 8_192 && !/[\x00-\x1f\x7f]/.test(name + value)
}

function unusable(what: string): PdpError {
  return new PdpError('ERR_RESULT_UNUSABLE', `the policy's result cannot be handed to a gateway: \`${what}\` is not as it should be`)
}
