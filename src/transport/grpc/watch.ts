// Watch: for those who keep answers, all that ends one, as messages. @see schemas/verdict/v1/decision.proto
import type { handleServerStreamingCall, ServerWritableStream } from '@grpc/grpc-js'
import protobuf from 'protobufjs/minimal.js'
import { PdpError, toPdpError } from '../../errors.ts'
import type { Admission } from '../admission.ts'
import { beatMs, type ChangeOptions, followChanges, maxStreams, type Told } from '../change-stream.ts'
import { callOf, requestIdMetadata, toServiceError } from './call.ts'
import { type CallLog, toCallStatus } from './call-status.ts'
import { correlationOf, factsOf } from './peer.ts'
import { readMessage, readText, skipField } from './wire.ts'

export interface WatchOptions extends ChangeOptions {
  readonly decideScope: Admission | undefined
  readonly log: CallLog
}

export interface Watches {
  readonly Watch: handleServerStreamingCall<Buffer, Uint8Array>
  /** Ends all: clients come back, to another service or to this one. */
  end(): void
}

/** A client that leaves so much unread is let go. Bytes. */
const maxUnreadBytes = 1024 * 1024

export function createWatch(options: WatchOptions): Watches {
  const streams = new Set<ServerWritableStream<Buffer, Uint8Array>>()
  return {
    Watch(stream) {
      const call = callOf(stream)
      const id = correlationOf(call)
      admit(stream, id).catch((thrown: unknown) =>
        stream.emit('error', toServiceError(toCallStatus(toPdpError(thrown), id, call.path, options.log))),
      )
    },
    end() {
      for (const stream of streams) stream.end()
    },
  }

  async function admit(stream: ServerWritableStream<Buffer, Uint8Array>, id: string): Promise<void> {
    const { caller } = await factsOf(callOf(stream), id, 'watch', options.decideScope)
    if (streams.size >= maxStreams) throw new PdpError('ERR_OVERLOADED', 'too many clients follow the changes')
    const lastId = readLastId(stream.request)
    stream.sendMetadata(requestIdMetadata(id))
    const write = (message: Uint8Array) => {
      stream.write(message)
      if (stream.writableLength > maxUnreadBytes) stream.destroy()
    }
    const stop = followChanges(
      options,
      { lastId, caller, isDecider: false },
      { send: (told) => write(writeTold(told)), end: () => stream.end() },
    )
    const beat = setInterval(() => write(beatMessage), beatMs).unref()
    streams.add(stream)
    const done = () => {
      clearInterval(beat)
      stop()
      streams.delete(stream)
    }
    for (const event of ['close', 'cancelled', 'finish', 'error']) stream.once(event, done)
    if (stream.cancelled) done()
  }
}

/** @throws PdpError as readMessage */
function readLastId(message: Buffer): string {
  return readMessage(message, (reader, end) => {
    let lastId = ''
    while (reader.pos < end) {
      const tag = reader.uint32()
      if (tag >>> 3 === 1) lastId = readText(reader, tag, end)
      else skipField(reader, tag, end)
    }
    return lastId
  })
}

const text = 2
const tag = (field: number, type: number) => (field << 3) | type

/** A WatchResponse with a `beat`. */
const beatMessage = protobuf.Writer.create().uint32(tag(5, text)).uint32(0).finish()

function writeTold(told: Told): Uint8Array {
  const writer = protobuf.Writer.create()
  writer.uint32(tag(1, text)).string(told.id)
  if (told.type === 'hello') {
    writer.uint32(tag(2, text)).fork()
    writer.uint32(tag(1, text)).bytes(told.key)
    if (told.reset) writer.uint32(tag(2, 0)).bool(true)
    for (const one of told.bundles) writeEpoch(writer.uint32(tag(3, text)), one)
    writer.ldelim()
  } else if (told.type === 'epoch') writeEpoch(writer.uint32(tag(3, text)), told)
  else {
    writer.uint32(tag(4, text)).fork()
    writer.uint32(tag(1, text)).string(told.kind)
    if (told.digest !== undefined) writer.uint32(tag(2, text)).bytes(told.digest)
    writer.ldelim()
  }
  return writer.finish()
}

function writeEpoch(writer: protobuf.Writer, { bundle, epoch }: { readonly bundle: string; readonly epoch: number }): void {
  writer.fork().uint32(tag(1, text)).string(bundle).uint32(tag(2, 0)).uint64(epoch).ldelim()
}
