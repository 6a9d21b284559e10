// Envoy's CheckResponse. It always says one of three things: 0 passes, 7 and 16 do not; any other status Envoy may take for a
// failure of ours, and let the request pass where it is configured to.
// @see schemas/envoy/service/auth/v3/external_auth.proto
import protobuf from 'protobufjs/minimal.js'
import type { Fields, GatewayResult } from '../gateway/gateway-result.ts'

export interface CheckAnswer {
  /** OK, PERMISSION_DENIED, UNAUTHENTICATED. */
  readonly status: 0 | 7 | 16
  /** Of the answer to the client, where the request does not pass. */
  readonly httpStatus: number
  /** For people: why there is no answer of the policy. */
  readonly message: string
  readonly result: GatewayResult
  /** ID of the record; empty where there is none. */
  readonly decisionId: string
}

type Writer = protobuf.Writer
const text = 2
const tag = (field: number, type: number) => (field << 3) | type

export function writeCheckResponse({ status, httpStatus, message, result, decisionId }: CheckAnswer): Uint8Array {
  const writer = protobuf.Writer.create()
  writer.uint32(tag(1, text)).fork()
  if (status !== 0) writer.uint32(tag(1, 0)).int32(status)
  if (message !== '') writer.uint32(tag(2, text)).string(message)
  writer.ldelim()
  if (status === 0) {
    writer.uint32(tag(3, text)).fork()
    headers(writer, 2, result.headers)
    for (const name of result.requestHeadersToRemove) writer.uint32(tag(5, text)).string(name)
    headers(writer, 6, result.responseHeadersToAdd)
    for (const [name, value] of result.queryParametersToSet) keyValue(writer.uint32(tag(7, text)), name, value)
    for (const name of result.queryParametersToRemove) writer.uint32(tag(8, text)).string(name)
    writer.ldelim()
  } else {
    writer.uint32(tag(2, text)).fork()
    writer.uint32(tag(1, text)).fork().uint32(tag(1, 0)).int32(httpStatus).ldelim()
    headers(writer, 2, result.headers)
    if (result.body !== undefined) writer.uint32(tag(3, text)).string(result.body)
    writer.ldelim()
  }
  const metadata = { ...result.dynamicMetadata, ...(decisionId !== '' && { decision_id: decisionId }) }
  if (Object.keys(metadata).length > 0) struct(writer.uint32(tag(4, text)), metadata)
  return writer.finish()
}

/** The first value of a name takes the place of what is there, further ones are added. */
function headers(writer: Writer, field: number, fields: Fields): void {
  const seen = new Set<string>()
  for (const [name, value] of fields) {
    writer.uint32(tag(field, text)).fork()
    keyValue(writer.uint32(tag(1, text)), name, value)
    if (seen.has(name)) writer.uint32(tag(2, text)).fork().uint32(tag(1, 0)).bool(true).ldelim()
    seen.add(name)
    writer.ldelim()
  }
}

function keyValue(writer: Writer, key: string, value: string): void {
  writer.fork().uint32(tag(1, text)).string(key).uint32(tag(2, text)).string(value).ldelim()
}

/** google.protobuf.Struct of what JSON.parse gave. */
function struct(writer: Writer, object: Readonly<Record<string, unknown>>): void {
  writer.fork()
  for (const [key, value] of Object.entries(object)) {
    writer.uint32(tag(1, text)).fork().uint32(tag(1, text)).string(key)
    structValue(writer.uint32(tag(2, text)), value)
    writer.ldelim()
  }
  writer.ldelim()
}

function structValue(writer: Writer, value: unknown): void {
  writer.fork()
  if (typeof value === 'string') writer.uint32(tag(3, text)).string(value)
  else if (typeof value === 'number') writer.uint32(tag(2, 1)).double(value)
  else if (typeof value === 'boolean') writer.uint32(tag(4, 0)).bool(value)
  else if (value === null) writer.uint32(tag(1, 0)).int32(0)
  else if (Array.isArray(value)) {
    writer.uint32(tag(6, text)).fork()
    for (const item of value) structValue(writer.uint32(tag(1, text)), item)
    writer.ldelim()
  } else struct(writer.uint32(tag(5, text)), value as Record<string, unknown>)
  writer.ldelim()
}
