// The service's own certificate and key from files; a pair that does not belong together, as while files are replaced, is not taken.
import { readFileSync } from 'node:fs'
import { createSecureContext } from 'node:tls'
import { PdpError } from '../errors.ts'

export interface CertificateFiles {
  /** PEM, the service's own certificate first. */
  readonly certFile: string
  readonly keyFile: string
}

export class ServerCertificate {
  readonly #files: CertificateFiles
  #pair: { readonly cert: string; readonly key: string }

  /** @throws PdpError ERR_CONFIG_INVALID */
  constructor(files: CertificateFiles) {
    this.#files = files
    this.#pair = read(files)
  }

  get paths(): string[] {
    return [this.#files.certFile, this.#files.keyFile]
  }

  get pair(): { readonly cert: string; readonly key: string } {
    return this.#pair
  }

  /** @throws PdpError ERR_CONFIG_INVALID; what was read before stays */
  reload(): void {
    this.#pair = read(this.#files)
  }
}

function read({ certFile, keyFile }: CertificateFiles): { readonly cert: string; readonly key: string } {
  try {
    const pair = { cert: readFileSync(certFile, 'utf8'), key: readFileSync(keyFile, 'utf8') }
    createSecureContext(pair)
    return pair
  } catch (cause) {
    throw new PdpError('ERR_CONFIG_INVALID', `server.tls: \`${certFile}\` and \`${keyFile}\` cannot be used: ${(cause as Error).message}`, {
      cause,
    })
  }
}
