// A gRPC client as any user has one: made from the .proto files by the library, which knows nothing of our own reading and writing.
import { join } from 'node:path'
import { type Client, credentials, loadPackageDefinition, Metadata, type ServiceError, type StatusObject } from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'
import { afterAll } from '@jest/globals'

const clients: Client[] = []

afterAll(() => {
  for (const client of clients) client.close()
})

export const definitions = loadSync(
  ['verdict/v1/decision.proto', 'envoy/service/auth/v3/external_auth.proto', 'grpc/health/v1/health.proto'],
  {
    includeDirs: [join(import.meta.dirname, '../../schemas')],
    keepCase: true,
    longs: Number,
    enums: String,
    defaults: true,
    oneofs: true,
  },
)

// biome-ignore lint/suspicious/noExplicitAny: messages of any shape
export type Message = any

/** A client of a service by its full name, with its methods as members. */
export function grpcClient(address: string, service: string, security = credentials.createInsecure(), options: object = {}): Message {
  let found: Message = loadPackageDefinition(definitions)
  for (const part of service.split('.')) found = found[part]
  const client = new found(address, security, options)
  clients.push(client)
  return client
}

export interface Outcome {
  readonly code: number
  readonly details: string
  readonly message: Message
  /** Metadata before the message. */
  readonly headers: Record<string, unknown>
  /** Metadata behind the message, or of an error. */
  readonly trailers: Record<string, unknown>
}

/** One call of one message; an error is an outcome like any other. */
export function call(
  client: Message,
  method: string,
  message: Message,
  metadata: Readonly<Record<string, string>> = {},
  options = {},
): Promise<Outcome> {
  return new Promise((resolve) => {
    let headers = {}
    let answer: Message
    const sent = client[method](message, metadataOf(metadata), options, (_error: ServiceError | null, received: Message) => {
      answer = received
    })
    sent.on('metadata', (received: Metadata) => (headers = received.getMap()))
    sent.on('status', ({ code, details, metadata: behind }: StatusObject) =>
      resolve({ code, details: code === 0 ? '' : details, message: answer, headers, trailers: behind.getMap() }),
    )
  })
}

/** A stream of messages both ways: sends all, gives all that came, and how it ended. */
export async function stream(
  client: Message,
  method: string,
  messages: readonly Message[],
  metadata: Readonly<Record<string, string>> = {},
): Promise<{ code: number; details: string; messages: Message[] }> {
  const calling = client[method](metadataOf(metadata))
  const received: Message[] = []
  const ended = new Promise<{ code: number; details: string }>((resolve) => {
    calling.on('data', (message: Message) => received.push(message))
    calling.on('error', () => {})
    calling.on('status', resolve)
  })
  for (const message of messages) calling.write(message)
  calling.end()
  const { code, details } = await ended
  return { code, details, messages: received }
}

/** A stream of messages from the service: gives what came until it ended, or within so long. */
export async function follow(
  client: Message,
  method: string,
  message: Message,
  metadata: Readonly<Record<string, string>> = {},
  { ms = 300, act = async () => {} }: { readonly ms?: number; readonly act?: () => Promise<unknown> } = {},
): Promise<{ code: number; messages: Message[] }> {
  const calling = client[method](message, metadataOf(metadata))
  const messages: Message[] = []
  const ended = new Promise<number>((resolve) => {
    calling.on('data', (one: Message) => messages.push(one))
    calling.on('error', () => {})
    calling.on('status', ({ code }: { code: number }) => resolve(code))
  })
  await act()
  const timer = setTimeout(() => calling.cancel(), ms)
  const code = await ended
  clearTimeout(timer)
  return { code, messages }
}

export function metadataOf(values: Readonly<Record<string, string>>): Metadata {
  const metadata = new Metadata()
  for (const [key, value] of Object.entries(values)) metadata.set(key, value)
  return metadata
}

/** A JavaScript value as google.protobuf.Struct, in the form that the library's encoder takes. */
export function toStruct(value: Readonly<Record<string, unknown>>): Message {
  return { fields: Object.fromEntries(Object.entries(value).map(([key, item]) => [key, toValue(item)])) }
}

function toValue(value: unknown): Message {
  if (value === null) return { nullValue: 'NULL_VALUE' }
  if (typeof value === 'number') return { numberValue: value }
  if (typeof value === 'string') return { stringValue: value }
  if (typeof value === 'boolean') return { boolValue: value }
  if (Array.isArray(value)) return { listValue: { values: value.map(toValue) } }
  return { structValue: toStruct(value as Record<string, unknown>) }
}
