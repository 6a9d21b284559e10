// Certificate authorities and certificates for tests, made on the spot.
import 'reflect-metadata/lite'
import { webcrypto, X509Certificate } from 'node:crypto'
import * as x509 from '@peculiar/x509'

x509.cryptoProvider.set(webcrypto as never)
export const { KeyUsageFlags } = x509

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const

export interface Issued {
  /** PEM. */
  readonly cert: string
  readonly key: string
  readonly serial: string
}

export interface LeafOptions {
  readonly dns?: readonly string[]
  readonly ips?: readonly string[]
  readonly uris?: readonly string[]
  readonly isCa?: boolean
  /** Default: what the certificate may be used for is critical. */
  readonly isUsageCritical?: boolean
  /** Further ones, by OID; critical. */
  readonly extensions?: Readonly<Record<string, Uint8Array>>
  /** Authorities below it at most. */
  readonly pathLength?: number
  readonly usages?: number
  readonly notBefore?: Date
  readonly notAfter?: Date
  readonly forClient?: boolean
  readonly forServer?: boolean
}

let serials = 1

/** A certificate authority, on its own or below another. */
export class TestAuthority {
  readonly cert: string
  readonly #issuer: x509.X509Certificate
  readonly #keys: webcrypto.CryptoKeyPair

  private constructor(issuer: x509.X509Certificate, keys: webcrypto.CryptoKeyPair) {
    this.#issuer = issuer
    this.#keys = keys
    this.cert = issuer.toString('pem')
  }

  static async create(name = 'test authority', uris: readonly string[] = [], lifeMs = 86_400_000): Promise<TestAuthority> {
    const keys = (await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])) as webcrypto.CryptoKeyPair
    const cert = await x509.X509CertificateGenerator.createSelfSigned({
      serialNumber: serial(),
      name: `CN=${name}`,
      notBefore: new Date(Date.now() - 3_600_000),
      notAfter: new Date(Date.now() + lifeMs),
      keys,
      signingAlgorithm: algorithm,
      extensions: [
        new x509.BasicConstraintsExtension(true, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
        ...(uris.length > 0 ? [new x509.SubjectAlternativeNameExtension(uris.map((value) => ({ type: 'url', value })))] : []),
        await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      ],
    })
    return new TestAuthority(cert, keys)
  }

  async issue(name: string, options: LeafOptions = {}): Promise<Issued> {
    const keys = (await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])) as webcrypto.CryptoKeyPair
    const cert = await this.#certify(name, keys.publicKey, options)
    return { cert: cert.toString('pem'), key: await pemOf(keys.privateKey), serial: cert.serialNumber }
  }

  async #certify(name: string, publicKey: webcrypto.CryptoKey, options: LeafOptions): Promise<x509.X509Certificate> {
    const names = [
      ...(options.dns ?? []).map((value) => ({ type: 'dns' as const, value })),
      ...(options.ips ?? []).map((value) => ({ type: 'ip' as const, value })),
      ...(options.uris ?? []).map((value) => ({ type: 'url' as const, value })),
    ]
    const uses = [
      ...(options.forClient === false ? [] : [x509.ExtendedKeyUsage.clientAuth]),
      ...(options.forServer === false ? [] : [x509.ExtendedKeyUsage.serverAuth]),
    ]
    return x509.X509CertificateGenerator.create({
      serialNumber: serial(),
      issuer: this.#issuer.subject,
      subject: `CN=${name}`,
      notBefore: options.notBefore ?? new Date(Date.now() - 60_000),
      notAfter: options.notAfter ?? new Date(Date.now() + 3_600_000),
      publicKey,
      signingKey: this.#keys.privateKey,
      signingAlgorithm: algorithm,
      extensions: [
        new x509.BasicConstraintsExtension(options.isCa === true, options.pathLength, true),
        new x509.KeyUsagesExtension(options.usages ?? x509.KeyUsageFlags.digitalSignature, options.isUsageCritical !== false),
        ...Object.entries(options.extensions ?? {}).map(([oid, value]) => new x509.Extension(oid, true, value)),
        ...(uses.length > 0 ? [new x509.ExtendedKeyUsageExtension(uses)] : []),
        ...(names.length > 0 ? [new x509.SubjectAlternativeNameExtension(names)] : []),
        await x509.AuthorityKeyIdentifierExtension.create(this.#issuer.publicKey),
        await x509.SubjectKeyIdentifierExtension.create(publicKey),
      ],
    })
  }

  /** Whether a certificate is of this authority. */
  issued({ cert }: Issued): boolean {
    return new X509Certificate(cert).verify(new X509Certificate(this.cert).publicKey)
  }

  /** An authority below this one, unless `isCa` says that it is none. */
  async authority(name: string, options: LeafOptions = {}): Promise<TestAuthority & { readonly serial: string }> {
    const keys = (await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])) as webcrypto.CryptoKeyPair
    const usages = options.isCa === false ? {} : { usages: x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign }
    const issued = await this.#certify(name, keys.publicKey, { forClient: false, forServer: false, isCa: true, ...usages, ...options })
    return Object.assign(new TestAuthority(issued, keys), { serial: issued.serialNumber })
  }

  /** The certificate of another authority, issued by this one. PEM. */
  async crossSigned(other: TestAuthority): Promise<string> {
    const usages = x509.KeyUsageFlags.keyCertSign
    const name = other.#issuer.subject.replace(/^CN=/, '')
    const issued = await this.#certify(name, other.#keys.publicKey, { forClient: false, forServer: false, isCa: true, usages })
    return issued.toString('pem')
  }

  /** A list of what was taken back, PEM. */
  async revocationList(serials: readonly string[], nextUpdate = new Date(Date.now() + 3_600_000)): Promise<string> {
    const list = await x509.X509CrlGenerator.create({
      issuer: this.#issuer.subject,
      thisUpdate: new Date(Date.now() - 60_000),
      nextUpdate,
      signingKey: this.#keys.privateKey,
      signingAlgorithm: algorithm,
      entries: serials.map((serialNumber) => ({ serialNumber, revocationDate: new Date(Date.now() - 30_000) })),
    })
    // The label of RFC 7468 is another than the library's.
    return `${list.toString('pem').replaceAll('CRL-----', 'X509 CRL-----').replaceAll('X509 X509', 'X509')}\n`
  }
}

function serial(): string {
  return `01${(serials++).toString(16).padStart(14, '0')}`
}

async function pemOf(key: webcrypto.CryptoKey): Promise<string> {
  const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', key)).toString('base64')
  return `-----BEGIN PRIVATE KEY-----\n${der.replace(/.{64}/g, '$&\n')}\n-----END PRIVATE KEY-----\n`
}
