// The service's own certificate and key, from files or from elsewhere; a pair that does not belong together, as while files are
// replaced, is not taken.
import { X509Certificate } from 'node:crypto'
import { createSecureContext } from 'node:tls'
import { PdpError } from '../errors.ts'
import { readText } from './files.ts'

/** PEM, the service's own certificate first. */
export interface CertificatePair {
  readonly cert: string
  readonly key: string
}

export class ServerCertificate {
  #pair: CertificatePair | undefined
  #notAfterMs = 0

  get pair(): CertificatePair | undefined {
    return this.#pair
  }

  /** Milliseconds since 1970; 0: there is none. */
  get expiresAtMs(): number {
    return this.#notAfterMs
  }

  /** Whether there is one, and it has not expired: nobody is answered with one that has. */
  isUsable(nowMs: number): boolean {
    return this.#pair !== undefined && nowMs < this.#notAfterMs
  }

  /**
   * @param pair undefined: there is none any longer
   * @throws PdpError ERR_CONFIG_INVALID; what was there stays
   */
  replace(pair: CertificatePair | undefined): void {
    try {
      if (pair !== undefined) createSecureContext(pair)
      this.#notAfterMs = pair === undefined ? 0 : Date.parse(new X509Certificate(pair.cert).validTo)
      this.#pair = pair
    } catch (cause) {
      throw new PdpError('ERR_CONFIG_INVALID', `server.tls: the certificate and its key cannot be used: ${(cause as Error).message}`, {
        cause,
      })
    }
  }
}

/** @throws PdpError ERR_CONFIG_INVALID */
export function readPair(certFile: string, keyFile: string): CertificatePair {
  return { cert: readText(certFile, 'server.tls'), key: readText(keyFile, 'server.tls') }
}
