// Calls of one message as nearly every client sends them, answered without grpc-js's way through a call, which takes longer than
// the decision. What is in any way unusual (compression, another content type, a timeout that is none) is left to grpc-js, which
// calls the same methods: there is one place for each answer, and this is not one.
//
// INVARIANT: a call ends: its message comes within the time of OverdueCalls, and within its own deadline.
import type { Http2Server, IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2'
import type { Server } from '@grpc/grpc-js'
import { toPdpError } from '../../errors.ts'
import type { Admission } from '../admission.ts'
import { answerInTurns } from '../answer-in-turns.ts'
import type { UnaryAnswer, UnaryMethod } from './call.ts'
import type { CallNews } from './call-status.ts'
import { DirectCall } from './direct-call.ts'
import type { OverdueCalls } from './overdue-calls.ts'
import { ambiguousCredentials, factsOf } from './peer.ts'
import { mark } from './session-peers.ts'

export interface DirectCallsOptions extends CallNews {
  /** By path. */
  readonly methods: ReadonlyMap<string, UnaryMethod>
  /** Bytes, without the prefix. */
  readonly maxMessageBytes: number
  readonly overdue: OverdueCalls
  /** Undefined: anybody may ask. */
  readonly decideScope: Admission | undefined
}

type StreamListener = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, flags: number, rawHeaders: string[]) => void

/**
 * Puts itself before grpc-js on everything that the server listens on: to be called when it does. The library has no public way
 * to its HTTP/2 servers.
 * @throws TypeError with a version of the library that keeps them elsewhere
 */
export function answerCallsDirectly(server: Server, options: DirectCallsOptions): void {
  const { http2Servers } = server as unknown as { readonly http2Servers?: unknown }
  if (!(http2Servers instanceof Map)) throw new TypeError('this version of @grpc/grpc-js keeps its HTTP/2 servers elsewhere')
  const answer = answering(options.methods)
  for (const http2 of http2Servers.keys() as Iterable<Http2Server>) {
    const theirs = http2.listeners('stream') as StreamListener[]
    http2.removeAllListeners('stream')
    http2.on('stream', (stream, headers, flags, rawHeaders: string[]) => {
      const call = new DirectCall(stream, headers, rawHeaders, options)
      const timeoutMs = timeoutOf(headers['grpc-timeout'] as string | undefined)
      if (options.methods.has(call.path) && isPlain(headers) && !Number.isNaN(timeoutMs)) receive(stream, call, timeoutMs, options, answer)
      // The library sees the first of them only.
      else if (call.values('authorization').length > 1) call.end(ambiguousCredentials())
      else {
        mark(headers, stream.session)
        const pass = () => {
          for (const listener of theirs) listener(stream, headers, flags, rawHeaders)
        }
        if (call.path.startsWith(reflectionPrefix)) admitCall(call, options, pass)
        else pass()
      }
    })
  }
}

const reflectionPrefix = '/grpc.reflection.'

/** The library's reflection knows no callers. */
function admitCall(call: DirectCall, { decideScope }: DirectCallsOptions, pass: () => void): void {
  const refuse = (thrown: unknown) => call.end(toPdpError(thrown))
  try {
    const facts = factsOf(call, '', 'grpc', decideScope)
    if (facts instanceof Promise) facts.then(pass, refuse)
    else pass()
  } catch (thrown) {
    refuse(thrown)
  }
}

function answering(methods: ReadonlyMap<string, UnaryMethod>): (call: DirectCall) => void {
  const nobodyWaits: UnaryAnswer = { requestId: '', message: new Uint8Array() }
  return answerInTurns(
    (call) => (call.isOver ? nobodyWaits : (methods.get(call.path) as UnaryMethod)(call.message, call)),
    (call, given) => call.send(given),
  )
}

function receive(
  stream: ServerHttp2Stream,
  call: DirectCall,
  timeoutMs: number | undefined,
  { overdue, maxMessageBytes }: DirectCallsOptions,
  answer: (call: DirectCall) => void,
): void {
  overdue.add(call)
  if (timeoutMs !== undefined) call.setDeadline(timeoutMs)
  stream.on('close', () => {
    overdue.delete(call)
    call.abandon()
  })
  stream.on('data', (chunk: Buffer) => {
    const fault = call.isOver ? undefined : call.read(chunk, maxMessageBytes)
    if (fault === undefined) return
    overdue.delete(call)
    call.end(fault)
  })
  stream.on('end', () => {
    overdue.delete(call)
    if (call.isOver) return
    const fault = call.readEnd()
    if (fault === undefined) answer(call)
    else call.end(fault)
  })
}

function isPlain(headers: IncomingHttpHeaders): boolean {
  const type = headers['content-type']
  const encoding = headers['grpc-encoding']
  return (
    headers[':method'] === 'POST' &&
    (type === 'application/grpc' || type === 'application/grpc+proto') &&
    (encoding === undefined || encoding === 'identity')
  )
}

const unitMs: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1_000, m: 1, u: 1e-3, n: 1e-6 }
/** Timers know no longer time. */
const maxTimerMs = 2 ** 31 - 1

/** @returns milliseconds; undefined where there is none, NaN for what is no timeout */
function timeoutOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const [, digits, unit] = /^(\d{1,8})([HMSmun])$/.exec(text) ?? []
  return Math.min(maxTimerMs, Number(digits) * (unitMs[unit ?? ''] ?? Number.NaN))
}
