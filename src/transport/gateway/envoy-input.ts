// The input that policies written for opa-envoy-plugin know, from what both flavours of ext_authz tell: the request's attributes,
// and its path, query and body parsed.
// @see https://www.openpolicyagent.org/docs/envoy/primer#example-input
import { toJsonLine } from '../../decision/json-text.ts'
import type { JsonText } from '../../decision/request.ts'
import { type JsonLimits, parseStrictJson } from '../../decision/strict-json.ts'
import { decodeUtf8 } from '../../decision/utf8.ts'
import { PdpError } from '../../errors.ts'
import { multipartText } from './multipart.ts'
import { parseQuery, parseTarget, type Target } from './target.ts'

/** What the attributes were found to hold. */
export interface EnvoyRequest {
  /** JSON text of `attributes`, as Google's library writes the message. */
  readonly attributes: JsonText
  readonly path: string
  /** Names in lower case. */
  readonly headers: ReadonlyMap<string, string>
  readonly body: Uint8Array
}

export interface EnvoyInput {
  readonly input: JsonText
  readonly target: Target
}

export interface EnvoyInputOptions {
  readonly limits: JsonLimits
  /** Whether policies are asked about bodies that are not whole. */
  readonly passTruncated: boolean
}

/**
 * @throws PdpError ERR_AMBIGUOUS_PATH; ERR_BODY_TOO_LARGE for a truncated body; as parseStrictJson and multipartText for a body that says
 * it is JSON or a form
 */
export function toEnvoyInput({ attributes, path, headers, body }: EnvoyRequest, { limits, passTruncated }: EnvoyInputOptions): EnvoyInput {
  const target = parseTarget(path)
  const truncated = isTruncated(headers, body)
  if (truncated && !passTruncated) {
    throw new PdpError('ERR_BODY_TOO_LARGE', 'the gateway sent a part of the body only; see gateways.truncatedBodies')
  }
  const parsed = truncated ? 'null' : parsedBody(headers.get('content-type') ?? '', body, limits)
  const input =
    `{"attributes":${attributes},"parsed_path":${toJsonLine(target.segments)},"parsed_query":${toJsonLine(Object.fromEntries(target.params))},` +
    `"parsed_body":${parsed},"truncated_body":${truncated},"version":{"encoding":"protojson","ext_authz":"v3"}}`
  return { input, target }
}

function isTruncated(headers: ReadonlyMap<string, string>, body: Uint8Array): boolean {
  if (headers.get('x-envoy-auth-partial-body') === 'true') return true
  const length = headers.get('content-length')
  // Without any body the gateway was not told to send it.
  return body.length > 0 && length !== undefined && /^\d+$/.test(length) && Number(length) > body.length
}

function parsedBody(contentType: string, body: Uint8Array, limits: JsonLimits): JsonText {
  if (body.length === 0) return 'null'
  if (contentType.includes('application/json')) return parseStrictJson(decodeUtf8(body), limits).text.trim()
  if (contentType.includes('application/x-www-form-urlencoded')) return toJsonLine(Object.fromEntries(parseQuery(decodeUtf8(body))))
  if (contentType.includes('multipart/form-data')) return multipartText(contentType, body, limits)
  return 'null'
}
