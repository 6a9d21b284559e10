// TLS under HTTP and gRPC: one set of options, and every connection with the identity of its peer, which is established before a
// byte of a request is read and looked at again for as long as the connection lives. Who is believed is decided behind a port.
//
// INVARIANT: no connection outlives its peer's identity by more than checkEveryMs.
import { constants, X509Certificate } from 'node:crypto'
import type { SecureContextOptions, TLSSocket, TlsOptions } from 'node:tls'
import type { Caller } from '../decision/request.ts'
import { PdpError, toPdpError } from '../errors.ts'

/** Who a certificate is of, and until when that may be believed. */
export interface VerifiedPeer {
  readonly id: string
  /** Milliseconds since 1970. */
  readonly validUntilMs: number
}

/** What a TLS listener is made of; what is in files may change while it runs. */
export interface TlsSettings {
  readonly minVersion: 'TLSv1.2' | 'TLSv1.3'
  /** `optional`: who has none may show a token. */
  readonly clientCertificates: 'none' | 'optional' | 'required'
  /** Certificates, key and authorities as they are now. */
  readonly material: () => Pick<SecureContextOptions, 'cert' | 'key' | 'ca'>
  /** Whether the service has a certificate that has not expired; without one nobody is answered. */
  readonly isUsable: () => boolean
  /** When the certificate of the service expires. Milliseconds since 1970. */
  readonly expiresAtMs: () => number
  /** @param chain the peer's certificate first; @throws PdpError ERR_CERTIFICATE_REFUSED */
  readonly verifyPeer: (chain: readonly X509Certificate[]) => VerifiedPeer
  /** Told when `material` or what `verifyPeer` goes by has changed. @returns ends that */
  readonly onChange: (listener: () => void) => () => void
  /** Told of handshakes that came to nothing. */
  readonly onRefused: (error: PdpError, address: string | undefined) => void
  readonly onAccepted: () => void
}

const checkEveryMs = 250
/** Forward secrecy and authenticated encryption, for TLS 1.2; those of TLS 1.3 have both. */
const ciphers = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  ...['ECDSA', 'RSA'].flatMap((auth) => [
    `ECDHE-${auth}-AES128-GCM-SHA256`,
    `ECDHE-${auth}-AES256-GCM-SHA384`,
    `ECDHE-${auth}-CHACHA20-POLY1305`,
  ]),
].join(':')

/** The parts of https.Server and tls.Server that are needed here. */
interface TlsServer {
  prependListener(event: 'secureConnection', listener: (socket: TLSSocket) => void): unknown
  on(event: 'tlsClientError', listener: (error: Error, socket: TLSSocket) => void): unknown
  on(event: 'close', listener: () => void): unknown
  setSecureContext(options: SecureContextOptions): void
}

/** A connection with what is known of its peer. */
export interface Connection {
  readonly chain: readonly X509Certificate[]
  readonly caller: Caller
  validUntilMs: number
}

/** On the socket itself: what stands before the sockets of HTTP/2 hands properties on. */
const connectionKey = Symbol('verdict.connection')

export function tlsOptions(settings: TlsSettings): TlsOptions {
  const { clientCertificates } = settings
  return {
    ...contextOptions(settings),
    requestCert: clientCertificates !== 'none',
    rejectUnauthorized: clientCertificates === 'required',
    handshakeTimeout: 10_000,
  }
}

function contextOptions({ material, minVersion }: TlsSettings): SecureContextOptions {
  return {
    ...material(),
    minVersion,
    ciphers,
    // An authority of a trust domain need not be a root.
    allowPartialTrustChain: true,
    // A resumed session would bring an identity that nobody looked at again.
    secureOptions: constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_RENEGOTIATION,
  } as SecureContextOptions
}

/** Watches over the connections of a server: to be called before anything else listens for them. */
export function secureConnections(server: TlsServer, settings: TlsSettings): void {
  const open = new Set<TLSSocket>()
  server.prependListener('secureConnection', (socket) => {
    try {
      if (!settings.isUsable()) throw notUsable()
      Object.assign(socket, { [connectionKey]: identify(socket, settings) })
      open.add(socket)
      socket.on('close', () => open.delete(socket))
      settings.onAccepted()
    } catch (thrown) {
      settings.onRefused(toPdpError(thrown), socket.remoteAddress)
      socket.destroy()
    }
  })
  server.on('tlsClientError', (error, socket) => settings.onRefused(handshakeFailure(error), socket.remoteAddress))
  const stop = settings.onChange(() => {
    server.setSecureContext(contextOptions(settings))
    for (const socket of open) check(socket, true)
  })
  const timer = setInterval(() => {
    for (const socket of open) check(socket, false)
  }, checkEveryMs).unref()
  server.on('close', () => {
    clearInterval(timer)
    stop()
  })

  function check(socket: TLSSocket, isChanged: boolean): void {
    const connection = (socket as Tagged)[connectionKey]
    const isUsable = settings.isUsable()
    if (connection === undefined || (isUsable && connection.chain.length === 0)) return
    if (isUsable && !isChanged && Date.now() < connection.validUntilMs) return
    try {
      if (!isUsable) throw notUsable()
      connection.validUntilMs = settings.verifyPeer(connection.chain).validUntilMs
    } catch (thrown) {
      connection.validUntilMs = 0
      settings.onRefused(toPdpError(thrown), socket.remoteAddress)
      socket.destroy()
    }
  }
}

type Tagged = TLSSocket & { readonly [connectionKey]?: Connection }

/** @throws PdpError ERR_CERTIFICATE_REFUSED */
function identify(socket: TLSSocket, { verifyPeer, clientCertificates }: TlsSettings): Connection {
  const leaf = clientCertificates === 'none' ? undefined : socket.getPeerX509Certificate()
  const address = socket.remoteAddress
  if (leaf === undefined) return { chain: [], caller: { authenticated: false, address }, validUntilMs: Number.POSITIVE_INFINITY }
  if (!socket.authorized) throw handshakeFailure(socket.authorizationError)
  const { id, validUntilMs, chain } = verifyShortest(socket, leaf, verifyPeer)
  const caller: Caller = { authenticated: true, id, address }
  certificates.set(caller, Buffer.from(leaf.fingerprint256.replaceAll(':', ''), 'hex').toString('base64url'))
  return { chain, caller, validUntilMs }
}

const certificates = new WeakMap<Caller, string>()

/** SHA-256 of the certificate that a peer showed, base64url, as tokens that are bound to one have it (RFC 8705); undefined: none. */
export function certificateOf(peer: Caller): string | undefined {
  return certificates.get(peer)
}

/** Most certificates are issued by an authority that is known; the rest of the chain takes a third of a handshake's time to read. */
function verifyShortest(
  socket: TLSSocket,
  leaf: X509Certificate,
  verifyPeer: TlsSettings['verifyPeer'],
): VerifiedPeer & Pick<Connection, 'chain'> {
  try {
    return { ...verifyPeer([leaf]), chain: [leaf] }
  } catch (thrown) {
    const chain = chainOf(socket)
    if (chain.length < 2) throw thrown
    return { ...verifyPeer(chain), chain }
  }
}

function chainOf(socket: TLSSocket): X509Certificate[] {
  const chain: X509Certificate[] = []
  const seen = new Set<string>()
  // What a peer sends beside its own certificate is told by some versions of Node.js (20) and not by others (24).
  for (let at = socket.getPeerCertificate(true); at?.raw !== undefined && !seen.has(at.fingerprint256); at = at.issuerCertificate) {
    seen.add(at.fingerprint256)
    chain.push(new X509Certificate(at.raw))
  }
  return chain
}

/** @param socket of a request, or what stands before the socket of an HTTP/2 session; undefined: without TLS */
export function connectionOf(socket: object): Connection | undefined {
  return (socket as Tagged)[connectionKey]
}

/** Who is at the other end, one object for each connection; undefined when the identity is over. */
export function peerOfConnection({ validUntilMs, caller }: Connection): Caller | undefined {
  return Date.now() >= validUntilMs ? undefined : caller
}

function handshakeFailure(error: Error | string | undefined): PdpError {
  const cause = error instanceof Error ? error : new Error(String(error))
  const { code = cause.message } = cause as NodeJS.ErrnoException
  const reason = code.replace(/[^A-Za-z0-9_]/g, ' ').slice(0, 64)
  return new PdpError('ERR_CERTIFICATE_REFUSED', `the TLS handshake failed: ${reason}`, { cause })
}

function notUsable(): PdpError {
  return new PdpError('ERR_CERTIFICATE_REFUSED', "the service's own certificate has expired or was taken back")
}
