// Envoy's CheckRequest, read from the wire. Fields that Envoy may have added since are passed over.
// @see schemas/envoy/service/auth/v3/external_auth.proto
import type { EnvoyRequest } from '../gateway/envoy-input.ts'
import { type MessageKind, messageText } from './proto-json.ts'
import { embedded, malformed, readMessage, skipField, type WireBounds } from './wire.ts'

export interface CheckRequest extends EnvoyRequest {
  readonly method: string
  readonly host: string
  readonly scheme: string
  /** Identity of the client by its certificate. */
  readonly principal: string | undefined
  /** Address of the client. */
  readonly ip: string | undefined
}

const socketAddress: MessageKind = {
  fields: {
    1: ['protocol', 'int32'],
    2: ['address', 'string'],
    3: ['portValue', 'int32'],
    4: ['namedPort', 'string'],
    5: ['resolverName', 'string'],
    6: ['ipv4Compat', 'bool'],
  },
}
const pipe: MessageKind = { fields: { 1: ['path', 'string'], 2: ['mode', 'int32'] } }
const headerValue: MessageKind = { fields: { 1: ['key', 'string'], 2: ['value', 'string'], 3: ['rawValue', 'bytes'] } }
const headerMap: MessageKind = { fields: { 1: ['headers', { items: headerValue }] } }
const metadata: MessageKind = { fields: { 1: ['filterMetadata', { values: 'struct' }] } }
const tlsSession: MessageKind = { fields: { 1: ['sni', 'string'] } }

function peer(socket: MessageKind, visit?: MessageKind['visit']): MessageKind {
  return {
    fields: {
      1: ['address', { fields: { 1: ['socketAddress', socket], 2: ['pipe', pipe] } }],
      2: ['service', 'string'],
      3: ['labels', { values: 'string' }],
      4: ['principal', 'string'],
      5: ['certificate', 'string'],
    },
    ...(visit !== undefined && { visit }),
  }
}

const httpFields: MessageKind['fields'] = {
  1: ['id', 'string'],
  2: ['method', 'string'],
  3: ['headers', { values: 'string' }],
  4: ['path', 'string'],
  5: ['host', 'string'],
  6: ['scheme', 'string'],
  7: ['query', 'string'],
  8: ['fragment', 'string'],
  9: ['size', 'int64'],
  10: ['protocol', 'string'],
  11: ['body', 'string'],
  12: ['rawBody', 'bytes'],
  13: ['headerMap', headerMap],
}

/** @throws PdpError as readMessage */
export function readCheckRequest(bytes: Uint8Array, bounds: WireBounds): CheckRequest {
  let principal: string | undefined
  let ip: string | undefined
  const http = new Map<number, unknown>()
  const source = peer(
    {
      ...socketAddress,
      visit: (field, value) => {
        if (field === 2) ip = value as string
      },
    },
    (field, value) => {
      if (field === 4) principal = value as string
    },
  )
  const attributesKind: MessageKind = {
    fields: {
      1: ['source', source],
      2: ['destination', peer(socketAddress)],
      4: [
        'request',
        { fields: { 1: ['time', 'timestamp'], 2: ['http', { fields: httpFields, visit: (field, value) => http.set(field, value) }] } },
      ],
      10: ['contextExtensions', { values: 'string' }],
      11: ['metadataContext', metadata],
      12: ['tlsSession', tlsSession],
      13: ['routeMetadataContext', metadata],
    },
  }
  const attributes = readMessage(bytes, (reader, end) => {
    let text: string | undefined
    while (reader.pos < end) {
      const tag = reader.uint32()
      if (tag >>> 3 !== 1) skipField(reader, tag, end)
      else if (text !== undefined) throw malformed('the attributes are there twice')
      else text = messageText(reader, embedded(reader, tag, end), attributesKind, bounds)
    }
    return text
  })
  if (attributes === undefined) throw malformed('there are no attributes')
  const text = (field: number) => (http.get(field) as string | undefined) ?? ''
  const raw = http.get(12) as Buffer | undefined
  return {
    attributes,
    path: text(4),
    headers: (http.get(3) as ReadonlyMap<string, string> | undefined) ?? new Map(),
    body: raw === undefined || raw.length === 0 ? Buffer.from(text(11)) : raw,
    method: text(2),
    host: text(5),
    scheme: text(6),
    principal: principal === '' ? undefined : principal,
    ip,
  }
}
