// A call of one message and one answer, apart from the way on which it comes: grpc-js, or direct-calls.ts.
import { type handleUnaryCall, Metadata, type ServerDuplexStream, type ServerUnaryCall, type ServerWritableStream } from '@grpc/grpc-js'
import type { Caller } from '../../decision/request.ts'
import type { CallNews, CallStatus } from './call-status.ts'
import { peerOfMark, sessionField } from './session-peers.ts'

/** What comes with the message. */
export interface Call {
  /** `/package.Service/Method` */
  readonly path: string
  /** `:authority` */
  readonly host: string
  /** Who is at the other end of the connection. */
  readonly peer: Caller
  /** Every value of a field of the metadata; Node joins repeated ones with a comma, where it may. */
  values(name: string): readonly string[]
}

export interface UnaryMessage {
  readonly requestId: string
  readonly message: Uint8Array
  /** For how long whoever gets it may keep it; absent or 0: not at all. Milliseconds. */
  readonly maxAgeMs?: number
}

export type UnaryAnswer = UnaryMessage | { readonly status: CallStatus }

/** In the trailers of an answer that may be kept, for those who do not read its message. */
export const maxAgeField = 'verdict-max-age-ms'

/** Must neither throw nor reject. */
export type UnaryMethod = (message: Buffer, call: Call) => UnaryAnswer | Promise<UnaryAnswer>

export function callOf(
  call: ServerUnaryCall<Buffer, Uint8Array> | ServerDuplexStream<Buffer, Uint8Array> | ServerWritableStream<Buffer, Uint8Array>,
): Call {
  return {
    path: call.getPath(),
    host: call.getHost(),
    peer: peerOfMark(call.metadata.get(sessionField)[0]?.toString()),
    values: (name) => call.metadata.get(name).map(String),
  }
}

/** The method as grpc-js calls it. */
export function toHandler(method: UnaryMethod, onAnswered: CallNews['onAnswered']): handleUnaryCall<Buffer, Uint8Array> {
  return (call, done) => {
    const began = performance.now()
    const send = (answer: UnaryAnswer) => {
      onAnswered(call.getPath(), 'status' in answer ? answer.status.code : 0, performance.now() - began)
      if ('status' in answer) return done(toServiceError(answer.status))
      call.sendMetadata(requestIdMetadata(answer.requestId))
      done(null, answer.message, maxAgeMetadata(answer))
    }
    const answer = method(call.request, callOf(call))
    if (answer instanceof Promise) void answer.then(send)
    else send(answer)
  }
}

function maxAgeMetadata({ maxAgeMs = 0 }: UnaryMessage): Metadata {
  const metadata = new Metadata()
  if (maxAgeMs > 0) metadata.set(maxAgeField, String(maxAgeMs))
  return metadata
}

/** The status as grpc-js takes it. */
export function toServiceError({ code, details, requestId, nonce }: CallStatus): { code: number; details: string; metadata: Metadata } {
  const metadata = requestIdMetadata(requestId)
  if (nonce !== undefined) metadata.set('dpop-nonce', nonce)
  return { code, details, metadata }
}

export function requestIdMetadata(id: string): Metadata {
  const metadata = new Metadata()
  if (id !== '') metadata.set('x-request-id', id)
  return metadata
}
