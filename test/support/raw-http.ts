// HTTP as bytes on a socket, for requests that no client library would send.
import { connect } from 'node:net'

export interface RawAnswer {
  readonly status: number
  readonly headers: string
  readonly body: string
}

/** Sends bytes as they are and reads until the server closes or has answered once. */
export function rawRequest(url: string, bytes: string | Buffer, timeoutMs = 5_000): Promise<RawAnswer> {
  const { hostname, port } = new URL(url)
  return new Promise((resolve, reject) => {
    let received = ''
    const socket = connect(Number(port), hostname, () => socket.write(bytes))
    const done = () => {
      socket.destroy()
      const [headers = '', ...body] = received.split('\r\n\r\n')
      resolve({ status: Number(/^HTTP\/1\.1 (\d{3})/.exec(headers)?.[1] ?? 0), headers, body: body.join('\r\n\r\n') })
    }
    socket.setTimeout(timeoutMs, () => {
      socket.destroy()
      reject(new Error(`no answer in ${timeoutMs} ms, received: ${received.slice(0, 200)}`))
    })
    socket.on('data', (data) => {
      received += data.toString('latin1')
      const length = /content-length: (\d+)/i.exec(received)?.[1]
      const at = received.indexOf('\r\n\r\n')
      if (length !== undefined && at >= 0 && received.length >= at + 4 + Number(length)) done()
    })
    socket.on('error', () => done())
    socket.on('close', () => done())
  })
}

/** A POST of /v1/decide, each line as given. */
export function rawDecide(lines: readonly string[], body: string | Buffer): Buffer {
  const head = `${lines.join('\r\n')}\r\n\r\n`
  return Buffer.concat([Buffer.from(head, 'latin1'), Buffer.from(body as string)])
}
