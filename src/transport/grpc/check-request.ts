// Envoy's CheckRequest, read from the wire. Fields that Envoy may have added since are passed over.
// @see schemas/envoy/service/auth/v3/external_auth.proto
import type { EnvoyRequest } from '../gateway/envoy-input.ts'
import { type Kept, type MessageKind, messageText } from './proto-json.ts'
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

const socketFields: MessageKind['fields'] = {
  1: ['protocol', 'int32'],
  2: ['address', 'string'],
  3: ['portValue', 'int32'],
  4: ['namedPort', 'string'],
  5: ['resolverName', 'string'],
  6: ['ipv4Compat', 'bool'],
}
const pipe: MessageKind = { fields: { 1: ['path', 'string'], 2: ['mode', 'int32'] } }
const headerValue: MessageKind = { fields: { 1: ['key', 'string'], 2: ['value', 'string'], 3: ['rawValue', 'bytes'] } }
const headerMap: MessageKind = { fields: { 1: ['headers', { items: headerValue }] } }
const metadata: MessageKind = { fields: { 1: ['filterMetadata', { values: 'struct' }] } }
const tlsSession: MessageKind = { fields: { 1: ['sni', 'string'] } }

function peer(socket: MessageKind): MessageKind['fields'] {
  return {
    1: ['address', { fields: { 1: ['socketAddress', socket], 2: ['pipe', pipe] } }],
    2: ['service', 'string'],
    3: ['labels', { values: 'string' }],
    4: ['principal', 'string'],
    5: ['certificate', 'string'],
  }
}

const http: MessageKind = {
  fields: {
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
  },
  keep: { 2: 'method', 3: 'headers', 4: 'path', 5: 'host', 6: 'scheme', 11: 'body', 12: 'rawBody' },
}
const attributes: MessageKind = {
  fields: {
    1: ['source', { fields: peer({ fields: socketFields, keep: { 2: 'ip' } }), keep: { 4: 'principal' } }],
    2: ['destination', { fields: peer({ fields: socketFields }) }],
    4: ['request', { fields: { 1: ['time', 'timestamp'], 2: ['http', http] } }],
    10: ['contextExtensions', { values: 'string' }],
    11: ['metadataContext', metadata],
    12: ['tlsSession', tlsSession],
    13: ['routeMetadataContext', metadata],
  },
}

/** @throws PdpError as readMessage */
export function readCheckRequest(bytes: Uint8Array, bounds: WireBounds): CheckRequest {
  const kept: Kept = new Map()
  const found = readMessage(bytes, (reader, end) => {
    let json: string | undefined
    while (reader.pos < end) {
      const tag = reader.uint32()
      if (tag >>> 3 !== 1) skipField(reader, tag, end)
      else if (json !== undefined) throw malformed('the attributes are there twice')
      else json = messageText(reader, embedded(reader, tag, end), attributes, bounds, kept)
    }
    return json
  })
  if (found === undefined) throw malformed('there are no attributes')
  const text = (name: string) => (kept.get(name) as string | undefined) ?? ''
  const raw = kept.get('rawBody') as Buffer | undefined
  return {
    attributes: found,
    path: text('path'),
    headers: (kept.get('headers') as ReadonlyMap<string, string> | undefined) ?? new Map(),
    body: raw === undefined || raw.length === 0 ? Buffer.from(text('body')) : raw,
    method: text('method'),
    host: text('host'),
    scheme: text('scheme'),
    principal: text('principal') === '' ? undefined : text('principal'),
    ip: kept.get('ip') as string | undefined,
  }
}
