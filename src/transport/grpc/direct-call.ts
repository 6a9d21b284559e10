// One call of one message on its HTTP/2 stream: its message taken out of what arrives, its answer or its status sent. Not which
// method it calls.
// @see https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
import { constants, type IncomingHttpHeaders, type ServerHttp2Stream } from 'node:http2'
import type { Caller } from '../../decision/request.ts'
import { PdpError } from '../../errors.ts'
import { type Call, maxAgeField, type UnaryAnswer, type UnaryMessage } from './call.ts'
import { type CallNews, type CallStatus, toCallStatus } from './call-status.ts'
import type { WaitingCall } from './overdue-calls.ts'
import { correlationOf } from './peer.ts'
import { peerOfSession } from './session-peers.ts'

/** Whether the message is compressed, and its length. Bytes. */
const prefixBytes = 5

export class DirectCall implements Call, WaitingCall {
  #isOver = false
  readonly #stream: ServerHttp2Stream
  readonly #headers: IncomingHttpHeaders
  readonly #rawHeaders: readonly string[]
  readonly #news: CallNews
  readonly #began = performance.now()
  #received: Buffer | undefined
  #more: Buffer[] | undefined
  #bytes = 0
  #timer: NodeJS.Timeout | undefined

  /** @param rawHeaders names and values in turns, as they were sent */
  constructor(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, rawHeaders: readonly string[], news: CallNews) {
    this.#stream = stream
    this.#headers = headers
    this.#rawHeaders = rawHeaders
    this.#news = news
    // What happens to a stream is told by its end.
    stream.on('error', ignore)
  }

  /** The answer is sent, or nobody waits for it. */
  get isOver(): boolean {
    return this.#isOver
  }

  get path(): string {
    return this.#headers[':path'] as string
  }

  get host(): string {
    return this.#headers[':authority'] ?? ''
  }

  get peer(): Caller {
    return peerOfSession(this.#stream.session)
  }

  values(name: string): readonly string[] {
    const value = this.#headers[name]
    if (value === undefined) return []
    // Of fields that may be there once, Node keeps the first.
    if (name === 'authorization') return this.#rawHeaders.filter((_, i, all) => i % 2 === 1 && all[i - 1]?.toLowerCase() === name)
    return typeof value === 'string' ? [value] : value
  }

  /** Without prefix; to be asked for when everything has come. */
  get message(): Buffer {
    return (this.#received as Buffer).subarray(prefixBytes)
  }

  /** Ends the call after so long, answered or not. */
  setDeadline(timeoutMs: number): void {
    this.#timer = setTimeout(() => this.end(new PdpError('ERR_REQUEST_TIMEOUT', 'the deadline of the call is over')), timeoutMs)
  }

  /** @returns what is wrong with the call */
  read(chunk: Buffer, maxMessageBytes: number): PdpError | undefined {
    if (this.#received === undefined) this.#received = chunk
    else {
      this.#more ??= [this.#received]
      this.#more.push(chunk)
    }
    const known = this.#bytes
    this.#bytes += chunk.length
    if (known < prefixBytes && this.#bytes >= prefixBytes) {
      this.#join()
      const length = (this.#received as Buffer).readUInt32BE(1)
      if (length > maxMessageBytes) {
        return new PdpError('ERR_BODY_TOO_LARGE', `the message of \`${length}\` bytes exceeds maxBodyBytes \`${maxMessageBytes}\``)
      }
    }
    return this.#bytes > maxMessageBytes + prefixBytes ? malformed('there is more than one message') : undefined
  }

  /** @returns what is wrong with the call */
  readEnd(): PdpError | undefined {
    this.#join()
    const received = this.#received
    if (received === undefined) return malformed('there is no message')
    if (received.length < prefixBytes) return malformed('the message ends early')
    if (received[0] !== 0) return new PdpError('ERR_UNSUPPORTED_ENCODING', 'the message is compressed, and no grpc-encoding says how')
    const length = prefixBytes + received.readUInt32BE(1)
    if (received.length < length) return malformed('the message ends early')
    return received.length > length ? malformed('there is more than one message') : undefined
  }

  #join(): void {
    if (this.#more === undefined) return
    this.#received = Buffer.concat(this.#more)
    this.#more = undefined
  }

  end(error: PdpError): void {
    this.send({ status: toCallStatus(error, correlationOf(this), this.path, this.#news.log) })
  }

  /** Sends the first answer that is given, if anybody waits for one. */
  send(answer: UnaryAnswer): void {
    if (this.#isOver || this.#stream.destroyed) return
    this.abandon()
    this.#news.onAnswered(this.path, 'status' in answer ? answer.status.code : 0, performance.now() - this.#began)
    if ('status' in answer) this.#sendStatus(answer.status)
    else this.#sendMessage(answer)
  }

  /** Nobody waits for an answer any longer. */
  abandon(): void {
    this.#isOver = true
    clearTimeout(this.#timer)
  }

  #sendMessage({ requestId, message, maxAgeMs = 0 }: UnaryMessage): void {
    const stream = this.#stream
    const framed = Buffer.allocUnsafe(prefixBytes + message.length)
    framed[0] = 0
    framed.writeUInt32BE(message.length, 1)
    framed.set(message, prefixBytes)
    stream.respond(requestId === '' ? answerFields : { ...answerFields, 'x-request-id': requestId }, answerOptions)
    stream.on('wantTrailers', maxAgeMs > 0 ? () => stream.sendTrailers({ ...okTrailers, [maxAgeField]: String(maxAgeMs) }) : sendOk)
    stream.end(framed)
  }

  #sendStatus({ code, details, requestId, nonce }: CallStatus): void {
    const stream = this.#stream
    const fields = {
      ...answerFields,
      'grpc-status': String(code),
      'grpc-message': encodeURI(details),
      'x-request-id': requestId,
      ...(nonce !== undefined && { 'dpop-nonce': nonce }),
    }
    stream.respond(fields, statusOptions)
    // Nothing more is read from a client that has its answer.
    if (!stream.readableEnded) stream.close(constants.NGHTTP2_NO_ERROR)
  }
}

const answerFields = {
  ':status': 200,
  'content-type': 'application/grpc',
  'grpc-accept-encoding': 'identity,deflate,gzip',
}
const answerOptions = { waitForTrailers: true, sendDate: false }
const statusOptions = { endStream: true, sendDate: false }
const okTrailers = { 'grpc-status': '0' }

function sendOk(this: ServerHttp2Stream): void {
  this.sendTrailers(okTrailers)
}

function ignore(): void {}

function malformed(what: string): PdpError {
  return new PdpError('ERR_INVALID_REQUEST', what)
}
