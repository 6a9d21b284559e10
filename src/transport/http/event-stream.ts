// Server-sent events: one stream for each client, ended with the service, with a beat while nothing happens, and let go when its client
// does not read.
// @see https://html.spec.whatwg.org/multipage/server-sent-events.html
import type { ServerResponse } from 'node:http'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { PdpError } from '../../errors.ts'

/** A client that leaves so much unread is let go; it comes back with the last number that it has. Bytes. */
const maxUnreadBytes = 1024 * 1024

export interface EventStream {
  /** @param data JSON text */
  send(id: string, event: string, data: string): void
  readonly isClosed: boolean
  /** Ends it for the client, who may come back. */
  end(): void
}

export class EventStreams {
  readonly #streams = new Set<ServerResponse>()
  readonly #max: number
  readonly #heartbeatMs: number

  constructor(app: FastifyInstance, { max, heartbeatMs }: { readonly max: number; readonly heartbeatMs: number }) {
    this.#max = max
    this.#heartbeatMs = heartbeatMs
    app.addHook('preClose', async () => {
      for (const stream of this.#streams) stream.end()
    })
  }

  /** @throws PdpError ERR_OVERLOADED; to be called before anything is answered, and before what open() needs */
  checkRoom(): void {
    if (this.#streams.size >= this.#max) throw new PdpError('ERR_OVERLOADED', 'too many clients follow the events')
  }

  /** @param onClose told once when the stream has ended, however it did */
  open(request: FastifyRequest, reply: FastifyReply, onClose: () => void): EventStream {
    reply.hijack()
    const stream = reply.raw
    this.#streams.add(stream)
    stream.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-store', 'x-request-id': request.id })
    stream.write('retry: 1000\n\n')
    const heartbeat = setInterval(() => stream.write(':\n\n'), this.#heartbeatMs).unref()
    stream.on('close', () => {
      clearInterval(heartbeat)
      this.#streams.delete(stream)
      onClose()
    })
    return {
      send(id, event, data) {
        stream.write(`id: ${id}\nevent: ${event}\ndata: ${data}\n\n`)
        if (stream.writableLength > maxUnreadBytes) stream.destroy()
      },
      get isClosed() {
        return stream.destroyed
      },
      end() {
        stream.end()
      },
    }
  }
}
