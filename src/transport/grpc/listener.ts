// What the gRPC server listens on: clear text through the library, TLS through a listener of our own, which hands its connections
// to the library when it is known who is at their other end. So both transports have one TLS, whose files change while it runs.
import type { AddressInfo } from 'node:net'
import { createServer } from 'node:tls'
import { type Server, ServerCredentials } from '@grpc/grpc-js'
import { secureConnections, type TlsSettings, tlsOptions } from '../secure-connections.ts'

export interface Listener {
  readonly port: number
  /** No new connections. */
  close(): void
}

/** @param tls undefined: clear text */
export async function listenOn(server: Server, host: string, port: number, tls: TlsSettings | undefined): Promise<Listener> {
  if (tls !== undefined) return listenSecurely(server, host, port, tls)
  const address = `${host.includes(':') ? `[${host}]` : host}:${port}`
  const bound = await new Promise<number>((resolve, reject) =>
    server.bindAsync(address, ServerCredentials.createInsecure(), (error, bound) => (error === null ? resolve(bound) : reject(error))),
  )
  return { port: bound, close: () => {} }
}

async function listenSecurely(server: Server, host: string, port: number, tls: TlsSettings): Promise<Listener> {
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure())
  const listener = createServer({ ...tlsOptions(tls), ALPNProtocols: ['h2'] }, (socket) => {
    if (socket.destroyed) return
    if (socket.alpnProtocol === 'h2') injector.injectConnection(socket)
    else socket.destroy()
  })
  secureConnections(listener, tls)
  await new Promise<void>((resolve, reject) => {
    listener.once('error', reject)
    listener.listen(port, host, () => {
      listener.off('error', reject)
      resolve()
    })
  })
  return { port: (listener.address() as AddressInfo).port, close: () => void listener.close() }
}
