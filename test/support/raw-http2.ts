// HTTP/2 as frames on a socket, for what no client library would send.
import { connect, type Socket } from 'node:net'

export const frameType = { data: 0, headers: 1, rstStream: 3, settings: 4, ping: 6, goaway: 7, windowUpdate: 8, continuation: 9 } as const
export const flag = { endStream: 1, ack: 1, endHeaders: 4 } as const

export function frame(type: number, flags: number, stream: number, payload: Buffer = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(9)
  head.writeUIntBE(payload.length, 0, 3)
  head[3] = type
  head[4] = flags
  head.writeUInt32BE(stream, 5)
  return Buffer.concat([head, payload])
}

/** Header fields as literals that no table keeps (RFC 7541 §6.2.2), as they are, in order. */
export function fields(pairs: readonly (readonly [string, string])[]): Buffer {
  const text = (value: string) => {
    const bytes = Buffer.from(value, 'latin1')
    const length = bytes.length < 127 ? [bytes.length] : [127, ...varint(bytes.length - 127)]
    return Buffer.concat([Buffer.from(length), bytes])
  }
  return Buffer.concat(pairs.flatMap(([name, value]) => [Buffer.from([0]), text(name), text(value)]))
}

function varint(value: number): number[] {
  const bytes: number[] = []
  let rest = value
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128)
  return [...bytes, rest]
}

/** A message of gRPC with its prefix. */
export function message(bytes: Uint8Array, compressed = 0, length = bytes.length): Buffer {
  const head = Buffer.alloc(5)
  head[0] = compressed
  head.writeUInt32BE(length, 1)
  return Buffer.concat([head, bytes])
}

export const callFields = (path: string): [string, string][] => [
  [':method', 'POST'],
  [':scheme', 'http'],
  [':path', path],
  [':authority', 'localhost'],
  ['te', 'trailers'],
  ['content-type', 'application/grpc'],
]

export interface Received {
  readonly types: number[]
  /** Codes of GOAWAY and RST_STREAM. */
  readonly codes: number[]
  closed: boolean
}

/** A connection that has said hello. */
export class RawHttp2 {
  readonly received: Received = { types: [], codes: [], closed: false }
  readonly #socket: Socket
  #rest = Buffer.alloc(0)
  #waiting: (() => void)[] = []

  constructor(address: string) {
    const [host, port] = address.split(':') as [string, string]
    this.#socket = connect(Number(port), host)
    this.#socket.on('error', () => {})
    this.#socket.on('close', () => {
      this.received.closed = true
      this.#wake()
    })
    this.#socket.on('data', (data) => this.#read(data))
    this.#socket.write(Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), frame(frameType.settings, 0, 0)]))
  }

  /** @returns false once the other side has closed */
  send(bytes: Buffer): Promise<boolean> {
    if (this.received.closed || this.#socket.destroyed) return Promise.resolve(false)
    return new Promise((resolve) => this.#socket.write(bytes, (error) => resolve(error === undefined || error === null)))
  }

  /** Waits until something has come. @throws Error after five seconds */
  async until(isThere: (received: Received) => boolean): Promise<Received> {
    const deadline = Date.now() + 5_000
    while (!isThere(this.received)) {
      if (Date.now() > deadline)
        throw new Error(
          `waited in vain; the last frames were ${JSON.stringify(this.received.types.slice(-20))}, closed: ${this.received.closed}`,
        )
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 100)
        this.#waiting.push(() => {
          clearTimeout(timer)
          resolve()
        })
      })
    }
    return this.received
  }

  close(): void {
    this.#socket.destroy()
  }

  #read(data: Buffer): void {
    this.#rest = Buffer.concat([this.#rest, data])
    while (this.#rest.length >= 9) {
      const length = this.#rest.readUIntBE(0, 3)
      if (this.#rest.length < 9 + length) break
      const type = this.#rest[3] as number
      this.received.types.push(type)
      if (type === frameType.goaway) this.received.codes.push(this.#rest.readUInt32BE(13))
      if (type === frameType.rstStream) this.received.codes.push(this.#rest.readUInt32BE(9))
      this.#rest = this.#rest.subarray(9 + length)
    }
    this.#wake()
  }

  #wake(): void {
    for (const wake of this.#waiting.splice(0)) wake()
  }
}
